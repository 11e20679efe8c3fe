import * as z from "zod";
import { leafOf } from "./leaf.ts";
import type { Leaf } from "./leaf.ts";
import { configSchema } from "./schema.ts";

/** One option and its names. `bookmark.events` is `--bookmark-events` and `SLUICE_BOOKMARK_EVENTS`. */
export interface Option {
  /** As in a configuration file: `bookmark.events`. */
  readonly key: string;
  readonly path: readonly string[];
  /** `--memory-bytes-max`. A list is said by repeating its singular. Not for what only a file can say. */
  readonly flag: string | undefined;
  readonly env: string | undefined;
  /** Undefined for `topics` and `routes`, which are more than one value. */
  readonly leaf: Leaf | undefined;
  readonly description: string;
  /** As a file would say it. */
  readonly defaultValue: unknown;
  /** The value as resolved, or what is wrong with it; the default for `undefined`. */
  parse(value: unknown): z.ZodSafeParseResult<unknown>;
}

/** Every option, in the order of the schema. */
export function configOptions(): readonly Option[] {
  return optionsOf(configSchema, []);
}

/** Variables that the command reads beside the options. */
export const OTHER_VARIABLES = ["SLUICE_CONFIG", "SLUICE_URL", "SLUICE_ADMIN_URL"] as const;

function optionsOf(schema: z.core.$ZodType, path: readonly string[]): Option[] {
  const inner = schema instanceof z.ZodPrefault ? schema.def.innerType : schema;
  if (inner instanceof z.ZodObject) {
    return Object.entries(inner.shape)
      .filter(([name]) => !name.startsWith("$"))
      .flatMap(([name, member]) => optionsOf(member as z.core.$ZodType, [...path, name]));
  }
  const leaf = leafOf(schema);
  const words = path.flatMap((name) => name.split(/(?=[A-Z])/)).map((word) => word.toLowerCase());
  const isSaid = leaf !== undefined && leaf.said !== "file";
  const flag = `--${words.join("-")}`;
  return [
    {
      key: path.join("."),
      path,
      flag: isSaid ? (leaf.said === "list" ? singular(flag) : flag) : undefined,
      env: isSaid ? `SLUICE_${words.join("_").toUpperCase()}` : undefined,
      leaf,
      description: leaf?.description ?? z.globalRegistry.get(inner)?.description ?? "",
      defaultValue: schema instanceof z.ZodPrefault ? schema.def.defaultValue : undefined,
      parse: (value) => z.safeParse(schema, value),
    },
  ];
}

/** `--cors-origins` is `--cors-origin`, `--trusted-proxies` is `--trusted-proxy`. */
function singular(flag: string): string {
  return flag.replace(/ies$/, "y").replace(/s$/, "");
}
