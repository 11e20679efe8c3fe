import { fanout } from "../support/fanout.ts";
import { atMost } from "../support/record.ts";
import type { Scenario } from "../support/scenario.ts";

/** The cost of one delivery, against a program that only calls send() and a bare net server. */
export const fanout5000: Scenario = {
  title: "5,000 subscribers of one topic, 20 events/s of 100 bytes",
  servers: ["sluice", "send-only", "bare-net", "better-sse"],
  runs: 5,
  seconds: 10,
  run: (server, { seconds, subscribers = 5_000, rate = 20, bytes = 100 }) =>
    fanout(server, { subscribers, rate, bytes, seconds, settleMs: 10_000 }),
  judge(medians) {
    const cost = (figures: (typeof medians)["sluice"]) =>
      figures?.["cpuMicrosPerDelivery"] ?? Number.NaN;
    const ours = cost(medians.sluice);
    return [
      atMost("CPU per delivery over send-only's", ours / cost(medians["send-only"]), 1.5),
      atMost("CPU per delivery over bare-net's", ours / cost(medians["bare-net"]), 1.2),
    ];
  },
};
