import type { Context } from "./context.ts";
import { UsageError } from "./exit.ts";

export const URL_DEFAULT = "http://127.0.0.1:8080";

/** Where `pub` and `sub` find Sluice: `--url`, else `SLUICE_URL`, else the default. */
export function targetUrl(option: string | undefined, { env }: Context): string {
  const [name, text] =
    option === undefined ? ["SLUICE_URL", env["SLUICE_URL"] ?? URL_DEFAULT] : ["--url", option];
  // The text itself may hold a password, so it is not repeated.
  if (!URL.canParse(text) || !/^https?:$/.test(new URL(text).protocol)) {
    throw new UsageError(`${name} is not a URL such as ${URL_DEFAULT}`);
  }
  const { username, password } = new URL(text);
  // fetch refuses such a URL, and repeats it in its message.
  if (username !== "" || password !== "") {
    throw new UsageError(`${name} must not have a user or password in it`);
  }
  return text;
}
