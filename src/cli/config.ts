import type { LoadedConfig } from "../gateway/config/load.ts";
import { renderConfig } from "../gateway/config/print.ts";
import { configJsonSchema } from "../gateway/config/schema.ts";

/** `config check`: what was read, and what is not the default. */
export function checkReport({ file, sources, warnings }: LoadedConfig): string {
  const stated = [...sources].filter(([, source]) => source !== "default");
  return [
    `ok: ${file ?? "no configuration file"}`,
    ...stated.map(([key, source]) => `  ${key} from ${source}`),
    ...warnings.map((warning) => `  warning: ${warning}`),
    "",
  ].join("\n");
}

/** `config print`: YAML that loads again to the same. */
export function printReport(loaded: LoadedConfig): string {
  return renderConfig(loaded);
}

/** `config schema`: for editors and pipelines. */
export function schemaReport(): string {
  return `${JSON.stringify(configJsonSchema(), null, 2)}\n`;
}
