import { Command, CommanderError } from "commander";
import { processContext } from "./context.ts";
import type { Context } from "./context.ts";
import { EXIT } from "./exit.ts";
import type { ExitCode } from "./exit.ts";
import type { Register } from "./register.ts";
import { reportOf } from "./report.ts";
import { packageVersion } from "./version.ts";

interface Row {
  readonly name: string;
  readonly description: string;
  /** Only the command that was asked for is loaded: `pub` starts in half the time without the gateway. */
  readonly load: () => Promise<{ readonly register: Register }>;
}

/** Every command: a file and a row. */
const COMMANDS: readonly Row[] = [
  { name: "serve", description: "Run the gateway", load: () => import("./serve.ts") },
  {
    name: "pub",
    description: "Publish an event: the argument, or all of standard input",
    load: () => import("./pub.ts"),
  },
  {
    name: "sub",
    description: "Print what is published; resumes by itself",
    load: () => import("./sub.ts"),
  },
  {
    name: "conns",
    description: "List a gateway's connections, or close some",
    load: () => import("./conns.ts"),
  },
  {
    name: "pool",
    description: "Show a gateway's sockets and streams to its origins",
    load: () => import("./pool.ts"),
  },
  {
    name: "drain",
    description: "Drain a gateway and end it; shows how far it is",
    load: () => import("./drain.ts"),
  },
  {
    name: "config",
    description: "Check, print and describe the configuration",
    load: () => import("./config.ts"),
  },
  {
    name: "doctor",
    description: "Check this machine, and the way to a gateway, for what hurts event streams",
    load: () => import("./doctor.ts"),
  },
];

/** Runs one command. Resolves with the exit code, once the command is done and has said what went wrong. */
export async function run(
  args: readonly string[],
  context: Context = processContext(),
): Promise<ExitCode> {
  let exitCode: ExitCode = EXIT.ok;
  try {
    const program = createProgram(context);
    for (const { name, description, load } of COMMANDS) {
      const command = program.command(name).description(description);
      if (name !== args[0]) continue;
      const { register } = await load();
      register(command, context, (code) => (exitCode = code));
    }
    await program.parseAsync(args, { from: "user" });
    return exitCode;
  } catch (error) {
    // Commander has already said what it has to say; --help and --version end this way too.
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.usage;
    const report = reportOf(error);
    context.stderr.write(report.text);
    return report.exitCode;
  }
}

function createProgram({ stdout, stderr }: Context): Command {
  return new Command("sluice")
    .description("Event streams over HTTP that lose nothing")
    .version(packageVersion(), "-v, --version")
    .configureOutput({
      writeOut: (text) => void stdout.write(text),
      writeErr: (text) => void stderr.write(inOurWords(text)),
    })
    .exitOverride()
    .helpCommand(false);
}

/** Commander's errors, as all others are written: one line that says it, and a hint. */
function inOurWords(text: string): string {
  return text
    .replace(/^error: /, "sluice: ")
    .replace(/\n\(Did you mean (.+)\?\)/, "\n  hint: did you mean $1?");
}
