import { setTimeout as sleep } from "node:timers/promises";
import { directives } from "./hops.ts";
import { checkBodySize, checkGone, checkKeepAlive, checkOrigin } from "./request-checks.ts";
import { checkCompression, checkDelay, checkIdle, isBuffered } from "./stream-checks.ts";
import type { Way } from "./way.ts";

/** Topics of the doctor are forgotten by the gateway after this, in milliseconds. */
const TTL_MS = 600_000;

export interface PathOptions {
  /** How long a quiet stream is watched, in milliseconds; 0 leaves it out. */
  readonly waitMs: number;
  /** Called once in a while with what is being waited for. */
  readonly onProgress: (text: string) => void;
}

/** Looks at everything that stands between here and the gateway. Resolves when every finding was told. */
export async function checkPath(way: Way, { waitMs, onProgress }: PathOptions): Promise<void> {
  onProgress("asking for a stream");
  if (!(await isReached(way))) return;
  // Best effort: whoever allows only publishing and reading is served all the same.
  await forget(way, ["quiet", "busy", "packed", "gone"]);
  const quiet = way.open("quiet");
  const startedAt = performance.now();
  onProgress("publishing an event");
  if (await isBuffered(way)) return;
  onProgress("measuring how late events come");
  await told(way, "delay", () => checkDelay(way));
  onProgress("offering compression");
  await told(way, "compression", () => checkCompression(way));
  onProgress("publishing as a page would");
  await told(way, "origin", () => checkOrigin(way));
  await told(way, "body_size", () => checkBodySize(way));
  onProgress("leaving a stream");
  await told(way, "gone", () => checkGone(way));
  checkKeepAlive(way);
  if (waitMs === 0) return;
  await told(way, "idle", async () => {
    const stop = new AbortController();
    void announce(startedAt, waitMs, onProgress, stop.signal);
    await checkIdle(way, quiet, waitMs);
    stop.abort();
  });
}

/** Whether there is a gateway at all; if not, that is the finding. */
async function isReached(way: Way): Promise<boolean> {
  const { findings, base } = way;
  const where = base.origin;
  try {
    const { status, headers, code } = await way.ask("busy", { method: "HEAD" });
    way.learn(headers);
    if (status === 200 && headers["content-type"]?.startsWith("text/event-stream")) {
      const through = way.hops.length === 0 ? "" : ` through ${way.hops.join(", ")}`;
      findings.ok("reach", `${where} answers as Sluice does${through}`);
      return true;
    }
    await explain(way, status, headers.location, code);
  } catch (error) {
    const [reason, code] = error instanceof Error ? wordsOf(error) : [String(error), ""];
    const fix = /CERT|SIGNATURE/.test(code)
      ? "an authority that is your own: NODE_EXTRA_CA_CERTS=ca.pem sluice doctor ..."
      : "start the gateway with `sluice serve`, or name its address: sluice doctor <url>";
    findings.found("reach", `${where} cannot be reached: ${reason}`, "no client gets through", [
      fix,
    ]);
  }
  return false;
}

/** `HEAD` has no body, so the reason is asked for again by `GET`. */
async function explain(
  way: Way,
  status: number,
  location: string | undefined,
  headCode: string | undefined,
): Promise<void> {
  const { findings, base } = way;
  const code = headCode ?? (await codeOf(way));
  if (code === "host_forbidden") {
    findings.found(
      "host",
      `the gateway is sent the public Host ${base.host} and refuses it (403 host_forbidden)`,
      "without authentication it serves loopback names only",
      directives("host", way.hops),
    );
    return;
  }
  const target = location === undefined ? "" : ` to ${location}`;
  findings.found(
    "reach",
    `${base.origin} answers a subscription with ${status}${target}${code === undefined ? "" : ` ${code}`}`,
    "what answers is no Sluice, or something in the way refuses the request",
    location === undefined
      ? ["check that /v1/ is passed on; name credentials by --header 'Authorization: ...'"]
      : ["name the address that it redirects to"],
  );
}

async function codeOf(way: Way): Promise<string | undefined> {
  // Refused before it becomes a stream, which a subscription would not be.
  return way.ask("busy", { headers: { Accept: "application/json" } }).then(
    ({ code }) => code,
    () => undefined,
  );
}

/** The message, where there is one, and the system's code. */
function wordsOf(error: Error): readonly [message: string, code: string] {
  const { code = "" } = error as NodeJS.ErrnoException;
  return [error.message || code || error.name, code];
}

async function forget(way: Way, names: readonly string[]): Promise<void> {
  const settings = { method: "PUT", headers: { "Content-Type": "application/json" } };
  const body = JSON.stringify({ ttl: TTL_MS });
  await Promise.allSettled(names.map((name) => way.ask(name, { ...settings, body })));
}

/** A check that failed in an unforeseen way says so, and the others go on. */
async function told(way: Way, check: string, run: () => Promise<void>): Promise<void> {
  try {
    await run();
  } catch (error) {
    const [reason] = error instanceof Error ? wordsOf(error) : [String(error)];
    way.findings.unknown(check, `could not be looked at: ${reason}`);
  }
}

async function announce(
  startedAt: number,
  waitMs: number,
  onProgress: (text: string) => void,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    const seconds = Math.round((performance.now() - startedAt) / 1_000);
    onProgress(`watching a quiet stream: ${seconds} s of about ${Math.round(waitMs / 1_000)} s`);
    await sleep(1_000, undefined, { signal }).catch(() => {});
  }
}
