import type { LoadedConfig } from "../gateway/config/load.ts";
import { renderConfig } from "../gateway/config/print.ts";
import { configJsonSchema } from "../gateway/config/schema.ts";
import { addConfigFlags, loadFromFlags } from "./config-flags.ts";
import { EXIT } from "./exit.ts";
import type { Register } from "./register.ts";

export const register: Register = (command, context, done) => {
  const { stdout } = context;
  command.helpCommand(false);
  const check = addConfigFlags(command.command("check"))
    .description("Say what is wrong with the configuration, or where its values come from")
    .action(() => {
      stdout.write(checkReport(loadFromFlags(check, context)));
      done(EXIT.ok);
    });
  const print = addConfigFlags(command.command("print"))
    .description("Print the resolved configuration, each value with where it comes from")
    .action(() => {
      // YAML that loads again to the same.
      stdout.write(renderConfig(loadFromFlags(print, context)));
      done(EXIT.ok);
    });
  command
    .command("schema")
    .description("Print the JSON Schema of configuration files")
    .action(() => {
      stdout.write(`${JSON.stringify(configJsonSchema(), null, 2)}\n`);
      done(EXIT.ok);
    });
};

/** What was read, and what is not the default. */
function checkReport({ file, sources, warnings }: LoadedConfig): string {
  const stated = [...sources].filter(([, source]) => source !== "default");
  return [
    `ok: ${file ?? "no configuration file"}`,
    ...stated.map(([key, source]) => `  ${key} from ${source}`),
    ...warnings.map((warning) => `  warning: ${warning}`),
    "",
  ].join("\n");
}
