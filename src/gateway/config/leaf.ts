import * as z from "zod";
import { nearest } from "./nearest.ts";
import { shown } from "./problem.ts";
import {
  BYTES,
  DURATION,
  formatBytes,
  formatDuration,
  parseBytes,
  parseDurationMs,
} from "./units.ts";

/** One value of the configuration. Flags, environment, files, JSON Schema and docs all come from it. */
export interface Leaf<T = unknown> {
  readonly description: string;
  /** Completes "must be ...": what is accepted, with unit and bounds. */
  readonly expects: string;
  /** What stands for the value in a flag's help: `--stall <duration>`. */
  readonly placeholder: string;
  /** How a flag or variable says it: a text, a switch without a value, a list, or not at all. */
  readonly said: "text" | "switch" | "list" | "file";
  readonly jsonSchema: Readonly<Record<string, unknown>>;
  /** `undefined` for what is not accepted. */
  read(value: unknown): T | undefined;
  /** What a flag or environment variable says, as a file would say it. Text that fits nothing stays text. */
  fromText(text: string): unknown;
  /** As a file would say it, in the largest unit that fits. */
  format(value: T): unknown;
  /** More about why a value was refused. */
  hint?(value: unknown): string | undefined;
}

type LeafSchema<T> = z.ZodPipe<z.ZodUnknown, z.ZodTransform<Awaited<T>>>;

const leaves = z.registry<Leaf>();

/** The leaf that `schema` stands for, behind whatever default it was given. */
export function leafOf(schema: z.core.$ZodType): Leaf | undefined {
  if (schema instanceof z.ZodPrefault || schema instanceof z.ZodOptional) {
    return leafOf(schema.def.innerType);
  }
  return leaves.get(schema);
}

/** A zod schema whose one message is "must be <expects>, not <value>". */
export function leafSchema<T>(leaf: Leaf<T>): LeafSchema<T> {
  const { description, jsonSchema } = leaf;
  const schema = z
    .unknown()
    .transform((value, context) => {
      const result = leaf.read(value);
      if (result !== undefined) return result as Awaited<T>;
      context.addIssue(refusalOf(leaf, value));
      return z.NEVER;
    })
    .meta({ description, ...jsonSchema });
  leaves.add(schema, leaf as Leaf);
  return schema;
}

/** Why `leaf` did not read `value`. */
function refusalOf(leaf: Leaf, value: unknown): string {
  const hint = leaf.hint?.(value);
  const message = `must be ${leaf.expects}, not ${shown(value)}`;
  return hint === undefined ? message : `${message}; ${hint}`;
}

/** A mapping with these keys and no others; a misspelt key is told with the nearest that there is. */
export function section<const Shape extends z.core.$ZodLooseShape>(
  shape: Shape,
): z.ZodObject<Shape, z.core.$strict> {
  return z.strictObject(shape, {
    error: (issue) => {
      if (issue.code !== "unrecognized_keys") return `must be a mapping, not ${shown(issue.input)}`;
      return issue.keys.map((key) => unknownKey(key, shape)).join("\n");
    },
  });
}

function unknownKey(key: string, shape: Readonly<Record<string, unknown>>): string {
  const known = Object.keys(shape).filter((name) => !name.startsWith("$"));
  const meant = nearest(key, known);
  const rest = meant === undefined ? `known: ${known.join(", ")}` : `did you mean "${meant}"?`;
  return `there is no option ${shown(key)} here; ${rest}`;
}

interface Range {
  readonly min: number;
  readonly max: number;
}

/** A whole number. */
export function count(description: string, { min, max }: Range): LeafSchema<number> {
  return leafSchema({
    description,
    expects: `a whole number from ${min.toLocaleString("en")} to ${max.toLocaleString("en")}`,
    placeholder: "count",
    said: "text",
    jsonSchema: { type: "integer", minimum: min, maximum: max },
    read: (value) =>
      typeof value === "number" && Number.isSafeInteger(value) && value >= min && value <= max
        ? value
        : undefined,
    fromText: (text) => (/^[0-9]{1,15}$/.test(text) ? Number(text) : text),
    format: (value) => value,
    hint: quotesHint,
  });
}

/** A span of time; read as milliseconds. */
export function duration(description: string, { min, max }: Range): LeafSchema<number> {
  const range = `from ${formatDuration(min)} to ${formatDuration(max)}`;
  return leafSchema({
    description,
    expects: `a duration ${range}, such as 20s or 250ms`,
    placeholder: "duration",
    said: "text",
    jsonSchema: {
      type: ["string", "integer"],
      pattern: DURATION.source,
      minimum: min,
      maximum: max,
    },
    read: (value) => within(parseDurationMs(value), min, max),
    fromText: (text) => text,
    format: formatDuration,
    hint: (value) => unitHint(value, "ms, s, m, h or d; a number alone is milliseconds"),
  });
}

/** A size; read as bytes. */
export function bytes(description: string, { min, max }: Range): LeafSchema<number> {
  return leafSchema({
    description,
    expects: `a size from ${formatBytes(min)} to ${formatBytes(max)}, such as 64KiB or 1MB`,
    placeholder: "size",
    said: "text",
    jsonSchema: { type: ["string", "integer"], pattern: BYTES.source, minimum: min, maximum: max },
    read: (value) => within(parseBytes(value), min, max),
    fromText: (text) => text,
    format: formatBytes,
    hint: (value) => unitHint(value, "B, KB, MB, GB, KiB, MiB or GiB; a number alone is bytes"),
  });
}

/** On or off. */
export function flag(description: string): LeafSchema<boolean> {
  return leafSchema({
    description,
    expects: "true or false",
    placeholder: "flag",
    said: "switch",
    jsonSchema: { type: "boolean" },
    read: (value) => (typeof value === "boolean" ? value : undefined),
    fromText: (text) => ({ true: true, 1: true, false: false, 0: false })[text] ?? text,
    format: (value) => value,
  });
}

/** One of a few words. */
export function choice<const Word extends string>(
  description: string,
  words: readonly Word[],
): LeafSchema<Word> {
  return leafSchema({
    description,
    expects: `one of ${words.join(", ")}`,
    placeholder: "word",
    said: "text",
    jsonSchema: { enum: words },
    read: (value) => words.find((word) => word === value),
    fromText: (text) => text,
    format: (value) => value,
    hint: (value) => {
      const meant = typeof value === "string" ? nearest(value, words) : undefined;
      return meant === undefined ? undefined : `did you mean "${meant}"?`;
    },
  });
}

/** Flags and variables have become numbers by now, so such a text stands in quotes in a file. */
export function quotesHint(value: unknown): string | undefined {
  const isQuoted = typeof value === "string" && /^[0-9]{1,15}$/.test(value);
  return isQuoted ? "write it without quotes" : undefined;
}

function within(value: number | undefined, min: number, max: number): number | undefined {
  return value !== undefined && value >= min && value <= max ? value : undefined;
}

function unitHint(value: unknown, units: string): string | undefined {
  const isNumberWithLetters = typeof value === "string" && /^[0-9.]+ *[A-Za-z]+$/.test(value);
  return isNumberWithLetters ? `units are ${units}` : undefined;
}
