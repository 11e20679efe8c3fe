import { readFileSync } from "node:fs";

/** The package's version. From src/cli and dist/cli alike its package.json is two folders up. */
export function packageVersion(): string {
  const file = new URL("../../package.json", import.meta.url);
  return (JSON.parse(readFileSync(file, "utf8")) as { version: string }).version;
}
