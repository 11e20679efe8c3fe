import type { Context } from "./context.ts";
import { UsageError } from "./exit.ts";

export const URL_DEFAULT = "http://127.0.0.1:8080";

export const ADMIN_URL_DEFAULT = "http://127.0.0.1:8081";

/** Where `pub` and `sub` find Sluice: `--url`, else `SLUICE_URL`, else the default. */
export function targetUrl(option: string | undefined, { env }: Context): string {
  return option === undefined
    ? checkUrl("SLUICE_URL", env["SLUICE_URL"] ?? URL_DEFAULT)
    : checkUrl("--url", option);
}

/** Where `conns`, `pool` and `drain` find the admin listener: `--admin-url`, else `SLUICE_ADMIN_URL`, else the default. */
export function adminUrl(option: string | undefined, { env }: Context): string {
  return option === undefined
    ? checkUrl("SLUICE_ADMIN_URL", env["SLUICE_ADMIN_URL"] ?? ADMIN_URL_DEFAULT)
    : checkUrl("--admin-url", option);
}

function checkUrl(name: string, text: string): string {
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
