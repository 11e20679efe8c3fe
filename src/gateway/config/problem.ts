/** One thing that is wrong with the configuration: what, where and why, and how to mend it. */
export interface ConfigProblem {
  /** `sluice.config.yaml:3:7`, `--port` or `SLUICE_PORT`. */
  readonly where: string;
  /** The option, as in a configuration file: `bookmark.events`. Empty when it is about the whole source. */
  readonly key: string;
  readonly message: string;
}

/** More are not listed: one wrong indent may make thousands. */
export const PROBLEMS_SHOWN_MAX = 20;

/** Everything that is wrong, found in one go. Nothing has been started. */
export class ConfigError extends Error {
  override readonly name = "ConfigError";
  readonly problems: readonly ConfigProblem[];

  constructor(problems: readonly ConfigProblem[]) {
    super(problems.map(describeProblem).join("\n"));
    this.problems = problems;
  }
}

/** One line without line ends: `<where>: <key> <message>`. */
export function describeProblem({ where, key, message }: ConfigProblem): string {
  return [`${where}:`, key, message].filter((part) => part !== "").join(" ");
}

const SHOWN_LENGTH_MAX = 60;

/** A value as it may stand in a message: one line, short, with what stands for user and password in a URL hidden. */
export function shown(value: unknown): string {
  if (value === null || value === undefined) return "empty";
  if (Array.isArray(value)) return "a list";
  if (typeof value === "object") return "a mapping";
  const text = (typeof value === "string" ? value : JSON.stringify(value)).replace(
    /\/\/[^/@]*@/,
    "//***@",
  );
  const short = text.length > SHOWN_LENGTH_MAX ? `${text.slice(0, SHOWN_LENGTH_MAX)}...` : text;
  if (typeof value !== "string") return short;
  // JSON leaves DEL and the C1 controls as they are, and a terminal acts on them.
  return JSON.stringify(short).replaceAll(
    /[\u007f-\u009f]/g,
    (control) => `\\u00${control.charCodeAt(0).toString(16)}`,
  );
}
