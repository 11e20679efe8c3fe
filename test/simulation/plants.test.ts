import { describe, expect, test } from "vitest";
import type { Batch } from "../../src/core/batch.ts";
import { controlBatch } from "../../src/core/batch.ts";
import type { Hub } from "../../src/core/hub.ts";
import { SharedRead } from "../../src/core/shared-read.ts";
import type { Subscriber } from "../../src/core/subscriber.ts";
import type { FakeConnection } from "../../src/testing/index.ts";
import { runSchedule } from "./schedule.ts";
import type { Plants } from "./world.ts";

const SEEDS_MAX = 40;

/** Bugs that a gateway may have, stood in the place of sound parts. The schedules must find each. */
const PLANTS: Record<string, Plants> = {
  "a connection loses each 20th batch": {
    connection: (connection) =>
      onWrite(connection, (write, batch, count) => {
        if (count % 20 !== 0) write(batch);
      }),
  },
  "a connection writes each 20th batch twice": {
    connection: (connection) =>
      onWrite(connection, (write, batch, count) => {
        write(batch);
        if (count % 20 === 0) write(batch);
      }),
  },
  "a connection holds a batch back behind the next": {
    connection: (connection) => {
      let held: Batch | undefined;
      return onWrite(connection, (write, batch, count) => {
        if (held !== undefined) {
          write(batch);
          write(held);
          held = undefined;
        } else if (count % 10 === 9) held = batch;
        else write(batch);
      });
    },
  },
  "a connection loses the first event of each 10th batch": {
    connection: (connection) =>
      onWrite(connection, (write, batch, count) => {
        const end = batch.frames.indexOf("\n\n") + 2;
        const isCut = count % 10 === 0 && end < batch.frames.length;
        write(isCut ? controlBatch(batch.frames.subarray(end)) : batch);
      }),
  },
  "readers are taken for live one event early": {
    hub: (hub) =>
      forSubscribers(hub, (subscriber) => {
        const onRead = subscriber.onRead.bind(subscriber);
        subscriber.onRead = ({ result }) => {
          const publications = result.publications.slice(0, -1);
          return onRead(new SharedRead({ ...result, publications }));
        };
      }),
  },
  "a lagging reader skips what it missed": {
    hub: (hub) =>
      forSubscribers(hub, (subscriber) => {
        const fallBack = subscriber.fallBack.bind(subscriber);
        subscriber.fallBack = (settledTo) => fallBack(settledTo + 1);
      }),
  },
  "whoever joins a lane is taken for live before it has read what was appended until then": {
    hub: (hub) =>
      forSubscribers(hub, (subscriber) => {
        Object.defineProperty(subscriber, "joinedTo", { get: () => 0, set: () => {} });
      }),
  },
  "whoever changes lanes skips what it has not read yet": {
    hub: (hub) =>
      forSubscribers(hub, (subscriber) => {
        let lane = subscriber.lane;
        const onRead = subscriber.onRead.bind(subscriber);
        subscriber.onRead = (read) => {
          const { result } = read;
          const hasMoved = result.lane !== lane;
          lane = result.lane;
          return onRead(hasMoved ? new SharedRead({ ...result, through: result.head }) : read);
        };
      }),
  },
  "an epoch that changes is ignored": {
    hub: (hub) =>
      forSubscribers(hub, (subscriber) => {
        subscriber.loseEpoch = () => {};
      }),
  },
  "bookmarks run ahead": {
    hub: (hub) =>
      forSubscribers(hub, (subscriber) => {
        const bookmark = subscriber.bookmark.bind(subscriber);
        subscriber.bookmark = (now) => {
          subscriber.cursor += 5;
          bookmark(now);
        };
      }),
  },
  "subscribers are not removed": {
    hub: (hub) =>
      forSubscribers(hub, (subscriber) => {
        subscriber.onClosed = () => {};
      }),
  },
};

describe("the schedules find planted bugs:", () => {
  test.each(Object.entries(PLANTS))("%s", async (_name, plants) => {
    let caughtBy: number | undefined;
    for (let seed = 1; seed <= SEEDS_MAX && caughtBy === undefined; seed += 1) {
      const failures = await runSchedule(seed, plants).catch((error: unknown) => [String(error)]);
      if (failures.length > 0) caughtBy = seed;
    }
    expect(caughtBy, `not caught by ${SEEDS_MAX} seeds`).toBeDefined();
  });
});

type Write = (batch: Batch) => void;

function onWrite(
  connection: FakeConnection,
  decide: (write: Write, batch: Batch, count: number) => void,
): FakeConnection {
  const write: Write = connection.write.bind(connection);
  let count = 0;
  connection.write = (batch) => {
    count += 1;
    decide(write, batch, count);
    return connection.pendingBytes > 0;
  };
  return connection;
}

/** Stands in for parts of each subscriber that `hub` makes. */
function forSubscribers(hub: Hub, change: (subscriber: Subscriber) => void): void {
  const subscribe = hub.subscribe.bind(hub);
  hub.subscribe = async (options) => {
    const opening = await subscribe(options);
    change(opening.subscriber);
    return opening;
  };
}
