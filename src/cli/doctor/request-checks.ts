import { setTimeout as sleep } from "node:timers/promises";
import { formatBytes, formatDuration } from "../../gateway/config/units.ts";
import { isLoopbackHost } from "../../gateway/config/host.ts";
import { FRONTS } from "../../gateway/config/keep-alive.ts";
import { directives } from "./hops.ts";
import type { Way } from "./way.ts";

const OPEN_MS = 5_000;
/** A client that has gone must be noticed by then, in milliseconds. */
const GONE_MS = 6_000;
const POLL_MS = 250;
/** A hop that refuses a body by its announced length does so by then, in milliseconds. */
const REFUSAL_MS = 1_500;

/** Whether a page of the public address may publish. */
export async function checkOrigin(way: Way): Promise<void> {
  const { findings, base } = way;
  const { answer } = await way.publish("busy", { Origin: base.origin });
  if (answer.code === "origin_forbidden") {
    findings.found(
      "origin",
      `a page of ${base.origin} may not publish (403 origin_forbidden)`,
      "browsers send Origin with every POST, and behind a proxy the gateway does not know its public name",
      [`sluice serve --cors-origin ${base.origin}`],
    );
  } else if (answer.status >= 400) {
    findings.unknown("origin", `a publish with Origin was answered ${answer.status}`);
  } else {
    findings.ok("origin", `a page of ${base.origin} may publish`);
  }
}

/** Whether a batch as large as the gateway takes is let through. */
export async function checkBodySize(way: Way): Promise<void> {
  const { findings, config } = way;
  const size = formatBytes(config.batchBytesMax);
  const answer = await way
    .ask("busy", {
      method: "POST",
      // The body itself never follows: who refuses it by its length does so now.
      headers: {
        "Content-Type": "application/x-ndjson",
        "Content-Length": String(config.batchBytesMax),
        Expect: "100-continue",
      },
      timeoutMs: REFUSAL_MS,
    })
    .catch(() => undefined);
  if (answer?.status !== 413) {
    findings.ok("body_size", `a batch of ${size} is not refused by its length`);
    return;
  }
  const isOurs = answer.code !== undefined;
  findings.found(
    "body_size",
    `a batch of ${size} is refused by ${isOurs ? "the gateway" : "a hop in the way"} (413)`,
    "large publishes fail, although the configuration here allows them",
    isOurs ? [`sluice serve --batch-bytes-max ${size}`] : directives("body", way.hops),
  );
}

/** Whether the gateway learns that the client of a quiet stream has gone. */
export async function checkGone(way: Way): Promise<void> {
  const { findings } = way;
  const stream = way.open("gone");
  await stream.until(() => stream.hasPrelude, OPEN_MS);
  const connection = stream.headers?.["sluice-connection"];
  const isThere = async (): Promise<boolean | undefined> => {
    const { code } = await way.acknowledge(String(connection));
    if (code === "ack_unexpected") return true;
    return code === "connection_unknown" ? false : undefined;
  };
  if (connection === undefined || (await isThere()) !== true) {
    stream.close();
    return findings.unknown("gone", "the gateway does not tell whether it has a connection");
  }
  stream.close();
  const closedAt = performance.now();
  while (performance.now() - closedAt < GONE_MS) {
    if ((await isThere()) === false) {
      const tookMs = Math.round(performance.now() - closedAt);
      return findings.ok("gone", `the gateway notices within ${tookMs} ms that a client has gone`);
    }
    await sleep(POLL_MS);
  }
  findings.found(
    "gone",
    `the gateway did not notice within ${GONE_MS / 1_000} s that a client has gone`,
    "whoever is in the way keeps the stream to the gateway open; each costs memory and a connection until a write fails",
    directives("gone", way.hops),
  );
}

/** Whether idle connections of what stands in front end before those of the gateway. */
export function checkKeepAlive(way: Way): void {
  const { findings, hops, config, base } = way;
  const kept = `the gateway keeps idle connections for ${formatDuration(config.keepAliveMs)}`;
  const front = hops.find((hop) => hop === "alb" || hop === "gcp" || hop === "nginx");
  if (front === undefined) {
    const rest = isLoopbackHost(base.hostname) ? "" : ": who reuses them must for less";
    return findings.ok("keep_alive", `${kept}${rest}`);
  }
  const { reuseMs } = FRONTS[front];
  if (config.keepAliveMs > reuseMs) {
    return findings.ok("keep_alive", `${kept}, longer than ${front} reuses them by default`);
  }
  const said = `${kept} by the configuration here, ${front} for ${formatDuration(reuseMs)} by default`;
  if (front === "nginx") {
    // It can be told otherwise, and then nothing shows it.
    const ours = "keepalive_timeout 45s; in the upstream block, or --keep-alive-front nginx";
    return findings.unknown("keep_alive", `${said}: ${ours}`);
  }
  findings.found(
    "keep_alive",
    said,
    "a request that it sends on a connection that is just being closed is answered 502",
    [`sluice serve --keep-alive-front ${front}`],
  );
}
