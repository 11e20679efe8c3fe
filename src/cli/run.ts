import { Command, CommanderError } from "commander";
import { checkReport, printReport, schemaReport } from "./config.ts";
import { addConfigFlags, loadFromFlags } from "./config-flags.ts";
import { processContext } from "./context.ts";
import type { Context } from "./context.ts";
import { EXIT } from "./exit.ts";
import type { ExitCode } from "./exit.ts";
import { pub } from "./pub.ts";
import type { PubOptions } from "./pub.ts";
import { reportOf } from "./report.ts";
import { serve } from "./serve.ts";
import { sub } from "./sub.ts";
import type { SubOptions } from "./sub.ts";
import { URL_DEFAULT } from "./target.ts";
import { packageVersion } from "./version.ts";

/** Runs one command. Resolves with the exit code, once the command is done and has said what went wrong. */
export async function run(
  args: readonly string[],
  context: Context = processContext(),
): Promise<ExitCode> {
  let exitCode: ExitCode = EXIT.ok;
  const program = createProgram(context, (code) => (exitCode = code));
  try {
    await program.parseAsync(args, { from: "user" });
    return exitCode;
  } catch (error) {
    // Commander has already said what it has to say; --help and --version end this way too.
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.usage;
    const { text, exitCode: failure } = reportOf(error);
    context.stderr.write(text);
    return failure;
  }
}

function createProgram(context: Context, done: (exitCode: ExitCode) => void): Command {
  const { stdout, stderr } = context;
  const program = new Command("sluice")
    .description("Event streams over HTTP that lose nothing")
    .version(packageVersion(), "-v, --version")
    .configureOutput({
      writeOut: (text) => void stdout.write(text),
      writeErr: (text) => void stderr.write(text.replace(/^error: /, "sluice: ")),
    })
    .exitOverride()
    .helpCommand(false);

  addConfigFlags(program.command("serve"))
    .description("Run the gateway")
    .action(async (_, command: Command) =>
      done(await serve(loadFromFlags(command, context), context)),
    );

  program
    .command("pub")
    .description("Publish an event: the argument, or all of standard input")
    .argument("<topic>", "the topic, such as orders/eu")
    .argument("[data]", "the event's text; without it, standard input without its last line end")
    .option("--lines", "each line of standard input is an event")
    .option("--ndjson", "each line of standard input is a JSON value and an event, sent in batches")
    .option("--event <name>", "the event's name")
    .option("--key <key>", "the event's conflation key")
    .option("--idempotency-key <key>", "makes it safe to run the same command again")
    .option("--url <url>", `where Sluice is (default: ${URL_DEFAULT}, env: SLUICE_URL)`)
    .action(async (topic: string, data: string | undefined, options: PubOptions) =>
      done(await pub(topic, data, options, context)),
    );

  program
    .command("sub")
    .description("Print what is published; resumes by itself")
    .argument("<topic...>", "topics, and patterns such as 'orders/*' or 'orders/**'")
    .option("--from <place>", "earliest, latest, last:<n> or an event's id (default: latest)")
    .option("--count <n>", "end after so many events")
    .option("--url <url>", `where Sluice is (default: ${URL_DEFAULT}, env: SLUICE_URL)`)
    .action(async (topics: string[], options: SubOptions) =>
      done(await sub(topics, options, context)),
    );

  const config = program
    .command("config")
    .description("Check, print and describe the configuration");
  addConfigFlags(config.command("check"))
    .description("Say what is wrong with the configuration, or where its values come from")
    .action((_, command: Command) => {
      stdout.write(checkReport(loadFromFlags(command, context)));
    });
  addConfigFlags(config.command("print"))
    .description("Print the resolved configuration, each value with where it comes from")
    .action((_, command: Command) => {
      stdout.write(printReport(loadFromFlags(command, context)));
    });
  config
    .command("schema")
    .description("Print the JSON Schema of configuration files")
    .action(() => {
      stdout.write(schemaReport());
    });
  return program;
}
