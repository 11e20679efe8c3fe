import { fanout } from "../support/fanout.ts";
import { atLeast, atMost } from "../support/record.ts";
import type { Scenario } from "../support/scenario.ts";

/** Far more events than turns of an event loop: does the flush coalesce, and stay fair? */
const flood = (mode: "post" | "ndjson"): Scenario => ({
  title: `1,000 subscribers, 2,000 events/s of 100 bytes by ${mode} on one connection`,
  servers: ["sluice", "better-sse"],
  runs: 5,
  seconds: 10,
  run: (server, { seconds, subscribers = 1_000, rate = 2_000, bytes = 100 }) =>
    // A server that cannot keep up gets 5 s more, and is then judged as it stands.
    fanout(server, { subscribers, rate, bytes, seconds, mode, settleMs: 5_000, grace: 5 }),
  judge: ({ sluice }) => [
    atLeast("share of the deliveries that arrived", sluice?.["deliveredShare"] ?? 0, 1),
    atMost("gaps, duplicates and reorders", sluice?.["faults"] ?? Number.NaN, 0),
    atMost("p99 in ms from the due time", sluice?.["latencyMsP99"] ?? Number.NaN, 50),
  ],
});

export const floodPost = flood("post");
export const floodNdjson = flood("ndjson");
