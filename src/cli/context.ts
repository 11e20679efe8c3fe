/** What a command needs of the process, so that it can also be run elsewhere than in one. */
export interface Context {
  readonly stdin: NodeJS.ReadStream;
  readonly stdout: NodeJS.WriteStream;
  readonly stderr: NodeJS.WriteStream;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** The folder that it was started in. */
  readonly folder: string;
}

export function processContext(): Context {
  const { stdin, stdout, stderr, env } = process;
  // Whoever reads us may go at any time (`| head`); without a listener that would end the process (P24).
  stdout.on("error", () => {});
  stderr.on("error", () => {});
  return { stdin, stdout, stderr, env, folder: process.cwd() };
}
