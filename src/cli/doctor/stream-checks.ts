import { setTimeout as sleep } from "node:timers/promises";
import { directives } from "./hops.ts";
import type { ProbeStream } from "./probe.ts";
import type { Way } from "./way.ts";

/** What has not come by then is held back, in milliseconds. */
const HELD_MS = 5_000;
const EVENTS = 8;
/** Events that come later than their publisher's answer by this are delayed by somebody, in milliseconds. */
const DELAY_MS_MAX = 100;
/** Between two events: a proxy delays those that come after a pause. */
const PAUSE_MS = 60;

/** Whether what is written arrives while the stream is open. If not, nothing else can be seen. */
export async function isBuffered(way: Way): Promise<boolean> {
  const { findings } = way;
  const stream = way.open("busy");
  const startedAt = performance.now();
  let held: string | undefined;
  if (!(await stream.until(() => stream.isOpen(), HELD_MS))) {
    held = "the head of a stream";
  } else if (!(await stream.until(() => stream.hasPrelude, HELD_MS))) {
    held = "the first bytes of a stream, which leave the gateway with its head,";
  } else {
    const { data } = await way.publish("busy");
    if (!(await stream.until(() => stream.arrivals.has(data), HELD_MS))) held = "an event";
  }
  const tookMs = Math.round(performance.now() - startedAt);
  const refusal = refusalOf(stream);
  stream.close();
  if (refusal !== undefined) {
    findings.unknown("buffering", refusal);
    return true;
  }
  if (held === undefined) {
    findings.ok("buffering", `a stream opens and its first event arrives within ${tookMs} ms`);
    return false;
  }
  const who = way.hops.length === 0 ? "something in the way" : way.hops.join(" or ");
  findings.found(
    "buffering",
    `${who} buffers: ${held} did not arrive within ${HELD_MS / 1_000} s`,
    "events are held back until a buffer is full or the stream ends",
    directives("buffering", way.hops),
  );
  return true;
}

/** Why there was no stream to look at, if there was an answer. */
function refusalOf({ status, end }: ProbeStream): string | undefined {
  if (end?.closing !== undefined) return `the gateway itself said goodbye: ${end.closing}`;
  return status === 0 || status === 200 ? undefined : `a subscription was answered ${status}`;
}

/** How much later than the publisher's answer an event comes. */
export async function checkDelay(way: Way): Promise<void> {
  const { findings } = way;
  const stream = way.open("busy");
  await stream.until(() => stream.hasPrelude, HELD_MS);
  const delays: number[] = [];
  for (let n = 0; n < EVENTS; n += 1) {
    await sleep(PAUSE_MS);
    const { data, answer } = await way.publish("busy");
    if (!(await stream.until(() => stream.arrivals.has(data), HELD_MS))) break;
    delays.push(Math.max(0, (stream.arrivals.get(data) ?? answer.at) - answer.at));
  }
  stream.close();
  delays.sort((a, b) => a - b);
  const medianMs = Math.round(delays[Math.floor(delays.length / 2)] ?? Infinity);
  const said = `events come ${medianMs} ms after their publisher was answered`;
  if (medianMs <= DELAY_MS_MAX) {
    findings.ok("delay", `${said}, in the median of ${EVENTS}`);
    return;
  }
  const why = "HAProxy adds about 200 ms to each event unless told not to, others less";
  findings.found("delay", said, why, directives("delay", way.hops));
}

/** Whether compression is put on event streams by whoever is in the way, and what that costs. */
export async function checkCompression(way: Way): Promise<void> {
  const { findings } = way;
  const stream = way.open("packed", { "Accept-Encoding": "gzip, deflate, br" });
  await stream.until(() => stream.isOpen(), HELD_MS);
  const coding = stream.headers?.["content-encoding"] ?? "identity";
  if (coding === "identity") {
    stream.close();
    return findings.ok("compression", "event streams are not compressed, though that was offered");
  }
  const startedAt = performance.now();
  const { data } = await way.publish("packed");
  const isIn = await stream.until(() => stream.arrivals.has(data), HELD_MS);
  const tookMs = Math.round((stream.arrivals.get(data) ?? 0) - startedAt);
  stream.close();
  findings.found(
    "compression",
    `event streams are compressed (${coding}), against Cache-Control: no-transform; an event ${isIn ? `came within ${tookMs} ms` : `did not come within ${HELD_MS / 1_000} s`}`,
    "a compressor holds events back until it has enough of them, and costs memory for each stream",
    directives("compression", way.hops),
  );
}

/** Whether a stream that is quiet is left alone until its heartbeat comes. */
export async function checkIdle(way: Way, quiet: ProbeStream, waitMs: number): Promise<void> {
  const { findings, config } = way;
  const heartbeat = `${config.heartbeatMs / 1_000} s`;
  const deadline = quiet.openedAt + waitMs;
  await quiet.until(() => quiet.heartbeats > 0, Math.max(0, deadline - performance.now()));
  // One that came may be the last: the total time is bounded by some.
  await quiet.until(() => false, Math.max(0, deadline - performance.now()));
  const { end, heartbeats, openedAt, lastByteAt } = quiet;
  quiet.close();
  const seconds = (ms: number): string => `${(ms / 1_000).toFixed(0)} s`;
  if (end === undefined) {
    const age = seconds(performance.now() - openedAt);
    if (heartbeats > 0) findings.ok("idle", `a quiet stream lived for ${age}, with heartbeats`);
    else if (waitMs < config.heartbeatMs * 1.2)
      findings.ok(
        "idle",
        `a quiet stream lived for ${age}; wait longer than the heartbeat of ${heartbeat} to see one`,
      );
    else
      findings.found(
        "idle",
        `no heartbeat came within ${age}, though one is due every ${heartbeat}`,
        "whoever is in the way holds comments back, and clients take the stream for dead",
        directives("buffering", way.hops),
      );
    return;
  }
  const refusal = refusalOf(quiet);
  if (refusal !== undefined) return findings.unknown("idle", refusal);
  const idleMs = end.at - lastByteAt;
  if (heartbeats > 0) {
    findings.found(
      "total",
      `a stream was cut after ${seconds(end.at - openedAt)} in all, though heartbeats came`,
      "whoever is in the way bounds the total time of an answer; each cut resumes exactly, but costs a connection",
      [...directives("total", way.hops), "or a maxAge below it, so that the gateway says goodbye"],
    );
    return;
  }
  findings.found(
    "idle",
    `intermediary idle timeout about ${seconds(idleMs)} < heartbeat ${heartbeat}`,
    `quiet streams are cut every ${seconds(idleMs)}; each resumes exactly, but costs a connection`,
    [
      ...directives("idle", way.hops),
      `or a heartbeat below it: --heartbeat ${Math.max(1, Math.floor(idleMs / 2_000))}s`,
    ],
  );
}
