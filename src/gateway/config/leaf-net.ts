import { isIP } from "node:net";
import { parseHost, parseOrigin } from "./host.ts";
import { leafSchema, quotesHint } from "./leaf.ts";
import { shown } from "./problem.ts";

/** An IP address or a name to listen on. */
export function host(description: string): ReturnType<typeof leafSchema<string>> {
  return leafSchema({
    description,
    expects: "an IP address or a host name",
    placeholder: "host",
    said: "text",
    jsonSchema: { type: "string", minLength: 1, maxLength: 255 },
    read: (value) => (typeof value === "string" ? parseHost(value) : undefined),
    fromText: (text) => text,
    format: (value) => value,
    hint: (value) =>
      typeof value === "string" && /[:/]/.test(value)
        ? "the port is an option of its own"
        : undefined,
  });
}

/** A TCP port; 0 takes a free one. */
export function port(description: string): ReturnType<typeof leafSchema<number>> {
  return leafSchema({
    description,
    expects: "a port from 0 to 65535",
    placeholder: "port",
    said: "text",
    jsonSchema: { type: "integer", minimum: 0, maximum: 65_535 },
    read: (value) =>
      Number.isInteger(value) && Number(value) >= 0 && Number(value) <= 65_535
        ? Number(value)
        : undefined,
    fromText: (text) => (/^[0-9]{1,5}$/.test(text) ? Number(text) : text),
    format: (value) => value,
    // Kubernetes sets SLUICE_PORT in every pod of a namespace that has a service called "sluice".
    hint: (value) =>
      typeof value === "string" && value.startsWith("tcp://")
        ? "Kubernetes sets this for a service called sluice; set enableServiceLinks: false in the pod"
        : quotesHint(value),
  });
}

/** Origins as browsers write them, or `*`. */
export function origins(): ReturnType<typeof leafSchema<readonly string[]>> {
  const items = (value: unknown): (string | undefined)[] =>
    (Array.isArray(value) ? value : [undefined]).map((item) =>
      typeof item === "string" ? parseOrigin(item) : undefined,
    );
  return leafSchema({
    description: "Pages of these origins may call Sluice; * is every origin",
    expects: "a list of origins such as https://app.example.com (no path), or *",
    placeholder: "origin",
    said: "list",
    jsonSchema: { type: "array", items: { type: "string" }, maxItems: 1_000 },
    read(value) {
      const read = items(value);
      return read.includes(undefined) ? undefined : (read as string[]);
    },
    fromText: listOf,
    format: (value) => value,
    hint(value) {
      if (!Array.isArray(value)) return undefined;
      return `${shown(value[items(value).indexOf(undefined)])} is none`;
    },
  });
}

/** IP addresses and CIDR ranges. */
export function addresses(description: string): ReturnType<typeof leafSchema<readonly string[]>> {
  return leafSchema({
    description,
    expects: "a list of IP addresses or ranges such as 10.0.0.0/8",
    placeholder: "address",
    said: "list",
    jsonSchema: { type: "array", items: { type: "string" }, maxItems: 1_000 },
    read: (value) =>
      Array.isArray(value) && value.every(isAddress) ? (value as string[]) : undefined,
    fromText: listOf,
    format: (value) => value,
    hint(value) {
      if (!Array.isArray(value)) return undefined;
      return `${shown(value.find((item) => !isAddress(item)))} is none`;
    },
  });
}

/** A file, as the process finds it; empty for none. */
export function path(description: string): ReturnType<typeof leafSchema<string>> {
  return leafSchema({
    description,
    expects: "the path of a file",
    placeholder: "file",
    said: "text",
    jsonSchema: { type: "string", maxLength: 4_096 },
    read: (value) =>
      typeof value === "string" && value.length <= 4_096 && !value.includes("\0")
        ? value
        : undefined,
    fromText: (text) => text,
    format: (value) => value,
  });
}

function isAddress(value: unknown): boolean {
  if (typeof value !== "string") return false;
  const [address = "", bits, ...rest] = value.split("/");
  const version = isIP(address);
  if (version === 0 || rest.length > 0) return false;
  if (bits === undefined) return true;
  return /^[0-9]{1,3}$/.test(bits) && Number(bits) <= (version === 4 ? 32 : 128);
}

function listOf(text: string): string[] {
  return text
    .split(",")
    .map((item) => item.trim())
    .filter((item) => item !== "");
}
