// A proxy that tells of a client that has gone only when something is written to it.
import { expect, test } from "vitest";
import { openStream, startWorld } from "../gateway/support.ts";
import { describeWith, needs } from "../support/programs.ts";
import { replaced, startHaproxy } from "./support.ts";

describeWith({ haproxy: needs("haproxy") }, "HAProxy without abortonclose", ({ haproxy }) => {
  test("P06 a client that closes during a drain is noticed long before the ACK's deadline", async () => {
    const world = await startWorld();
    const proxy = await startHaproxy(haproxy, world, (config) =>
      replaced(config, [["option abortonclose", "no option abortonclose"]]),
    );
    const stream = await openStream(proxy, "/v1/topics/a");
    const drained = world.drain({ ackWaitMs: 60_000, deadlineMs: 90_000 });
    await stream.take(1);
    const at = performance.now();
    stream.cut();
    const { byHow } = await drained;
    expect(byHow).toMatchObject({ closed: 1 });
    // The probes are 500 ms apart; the rest is the proxy's, and a busy machine's.
    expect(performance.now() - at).toBeLessThan(10_000);
  });
});
