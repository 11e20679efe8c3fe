import { SluiceError } from "../core/errors.ts";

/** The parameters of a query, each of which may be asked for once or as often as it was given. */
export class Query {
  readonly #values: ReadonlyMap<string, readonly string[]>;

  constructor(values: ReadonlyMap<string, readonly string[]>) {
    this.#values = values;
  }

  all(name: string): readonly string[] {
    return this.#values.get(name) ?? [];
  }

  /** Throws `parameter_invalid` when it was given twice. */
  one(name: string): string | undefined {
    const values = this.all(name);
    if (values.length > 1) {
      throw new SluiceError("parameter_invalid", `${name} was given ${values.length} times`);
    }
    return values[0];
  }

  /** Throws `parameter_invalid` when it is given and not one of `values`. */
  oneOf<const Value extends string>(name: string, values: readonly Value[]): Value | undefined {
    const value = this.one(name);
    if (value === undefined || values.includes(value as Value)) return value as Value | undefined;
    throw new SluiceError(
      "parameter_invalid",
      `${name} is ${shown(value)}, not ${values.join(" or ")}`,
    );
  }
}

/**
 * Reads the text behind `?`, strictly: what is misspelt is refused, not ignored. Throws
 * `parameter_invalid` for a parameter that is not in `known`, and for percent-encoding that is no
 * UTF-8: `URLSearchParams` would turn it into U+FFFD, another value.
 */
export function parseQuery(text: string, known: readonly string[]): Query {
  const found = new Map<string, string[]>();
  for (const pair of text.split("&")) {
    if (pair === "") continue;
    const equals = pair.indexOf("=");
    const name = decode(equals === -1 ? pair : pair.slice(0, equals));
    if (!known.includes(name)) {
      const may = known.length === 0 ? "it takes none" : `it takes ${known.join(", ")}`;
      throw new SluiceError(
        "parameter_invalid",
        `${shown(name)} is no parameter of this request; ${may}`,
      );
    }
    const value = equals === -1 ? "" : decode(pair.slice(equals + 1));
    const values = found.get(name);
    if (values === undefined) found.set(name, [value]);
    else values.push(value);
  }
  return new Query(found);
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text.replaceAll("+", " "));
  } catch (error) {
    throw new SluiceError(
      "parameter_invalid",
      `the percent-encoding of ${shown(text)} is not valid UTF-8`,
      { cause: error },
    );
  }
}

function shown(text: string): string {
  return JSON.stringify(text.length > 80 ? `${text.slice(0, 80)}...` : text);
}
