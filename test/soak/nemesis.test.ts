// Real sockets, a real gateway process, and a nemesis that cuts at random bytes: nothing may be lost,
// doubled or reordered over more than a million deliveries. New seeds each run.
import { expect, test } from "vitest";
import { Checker } from "../../src/testing/checker.ts";
import { Dice, seededRandom } from "../../src/testing/random.ts";
import { GatewayProcess } from "./gateway-process.ts";
import { Nemesis } from "./nemesis.ts";
import { publishAll } from "./publisher.ts";
import { Reader, seqOf } from "./reader.ts";

const DELIVERIES_MIN = 1_000_000;
const TIME_MS_MAX = 180_000;
const seed = Number(process.env["SLUICE_SEED"] ?? Math.floor(Math.random() * 2 ** 31));
const REPEAT = `repeat it with: SLUICE_SEED=${seed} npx vitest run test/soak/nemesis.test.ts`;

/** Everything stays readable, so that no gap may be told. */
const CONFIG = `memoryBytesMax: 1GiB
topics:
  - match: "**"
    retention: { count: 1000000, bytes: 512MiB }
`;

interface Crowd {
  readonly count: number;
  readonly path: string;
  readonly topics: readonly string[];
  readonly isEnveloped?: boolean;
  readonly isSlow?: boolean;
}

const CROWDS: readonly Crowd[] = [
  { count: 30, path: "/v1/topics/soak/a", topics: ["soak/a"] },
  { count: 10, path: "/v1/topics/soak/b", topics: ["soak/b"] },
  {
    count: 12,
    path: "/v1/events?topic=soak/a&topic=soak/b",
    topics: ["soak/a", "soak/b"],
    isEnveloped: true,
  },
  {
    count: 4,
    path: "/v1/events?form=plain&topic=soak/a&topic=soak/b",
    topics: ["soak/a", "soak/b"],
  },
  { count: 10, path: "/v1/topics/soak/c/*", topics: ["soak/c/*"], isEnveloped: true },
  { count: 4, path: "/v1/events?topic=soak/**", topics: ["soak/**"], isEnveloped: true },
  { count: 5, path: "/v1/topics/soak/fat", topics: ["soak/fat"], isSlow: true },
];

/** Publisher, topic, events, lines of a batch at most, padding at most, and whether the nemesis cuts it. */
const PUBLISHERS = [
  ["a1", "soak/a", 12_000, 100, 40, false],
  ["a2", "soak/a", 6_000, 60, 40, true],
  ["b1", "soak/b", 3_000, 1, 40, false],
  ["b2", "soak/b", 1_000, 1, 40, true],
  ["c1", "soak/c/1", 5_000, 40, 40, false],
  ["c2", "soak/c/2", 1_500, 1, 400, false],
  ["f1", "soak/fat", 1_200, 20, 40_000, false],
] as const;

test(
  `no gap, duplicate or reorder over ${DELIVERIES_MIN.toLocaleString("en")} deliveries, seed ${seed}`,
  async () => {
    const checker = new Checker();
    const dice = new Dice(seededRandom(seed));
    const gateway = await GatewayProcess.start(CONFIG);
    // Most connections are cut soon, some late: from 1 byte to 1 MiB, evenly over the magnitudes.
    const nemesis = await Nemesis.start({
      targetPort: gateway.port,
      dice,
      budget: (each) => Math.floor(2 ** (each.integer(0, 2_000) / 100)),
    });
    // Their answers are short.
    const amongPublishers = await Nemesis.start({
      targetPort: gateway.port,
      dice,
      budget: (each) => each.integer(1, 6_000),
    });
    // A reader lags when megabytes wait for it, which takes a connection that lives.
    const late = await Nemesis.start({
      targetPort: gateway.port,
      dice,
      budget: (each) => each.integer(8_000_000, 24_000_000),
    });
    const fat = Promise.withResolvers<void>();
    const topicOfPublisher = new Map<string, string>(
      PUBLISHERS.map(([name, topic]) => [name, topic]),
    );
    const readers = CROWDS.flatMap(({ count, path, topics, isEnveloped = false, isSlow = false }) =>
      Array.from(
        { length: count },
        (_, index) =>
          new Reader({
            name: `${path}#${index}`,
            port: isSlow ? late.port : nemesis.port,
            path,
            topics,
            isEnveloped,
            checker,
            topicOf: ({ data }) =>
              topicOfPublisher.get((JSON.parse(data) as { p: string }).p) ?? "",
            ...(isSlow && { pace: { bytes: 256 * 1024, pauseMs: 100, held: fat.promise } }),
          }),
      ),
    );
    const startedAt = performance.now();
    try {
      const newest = await Promise.all(
        PUBLISHERS.map(async ([name, topic, count, linesMax, paddingMax, isCut]) => {
          const port = isCut ? amongPublishers.port : gateway.port;
          const rest = { checker, dice, count, linesMax, paddingMax };
          const id = await publishAll({ name, topic, port, ...rest });
          if (topic === "soak/fat") fat.resolve();
          return { topic, id };
        }),
      );
      const publishedMs = performance.now() - startedAt;
      const goals = CROWDS.flatMap(({ count, topics }) => {
        const ids = newest.filter(({ topic }) =>
          topics.some((text) => topic.startsWith(text.replace(/\*+$/, ""))),
        );
        const goal = ids.map(({ id }) => id).toSorted((a, b) => seqOf(b) - seqOf(a))[0] ?? "";
        return Array.from({ length: count }, () => goal);
      });
      await Promise.all(readers.map((reader, index) => reader.reached(goals[index] ?? "")));
      for (const { failure } of readers) expect(failure, REPEAT).toBeUndefined();
      const tookMs = performance.now() - startedAt;
      for (const reader of readers) reader.stop();
      for (const { name } of readers) checker.add({ type: "settled", reader: name });
      const verdict = checker.verdict();
      const sum = (of: (reader: Reader) => number): number =>
        readers.reduce((total, reader) => total + of(reader), 0);
      const figures = {
        seed,
        published: verdict.published,
        delivered: verdict.delivered,
        cuts: nemesis.cuts + late.cuts,
        cutsAmongPublishers: amongPublishers.cuts,
        connections: sum(({ connections }) => connections),
        halves: sum(({ halves }) => halves),
        lagged: await gateway.metric("sluice_lagged_total"),
        duplicatePublishes: await gateway.metric("sluice_publish_duplicates_total"),
        publishedMs: Math.round(publishedMs),
        tookMs: Math.round(tookMs),
      };
      console.log(`soak: ${JSON.stringify(figures)}`);
      expect(verdict.failures, REPEAT).toEqual([]);
      expect(
        sum(({ tornChunks }) => tornChunks),
        REPEAT,
      ).toBe(0);
      expect(verdict.gapsTold, REPEAT).toBe(0);
      expect(verdict.delivered, REPEAT).toBeGreaterThanOrEqual(DELIVERIES_MIN);
      // The run was worth its name: everything that it is about did happen.
      expect(figures.cuts).toBeGreaterThan(1_000);
      expect(figures.halves).toBeGreaterThan(100);
      expect(figures.lagged).toBeGreaterThan(0);
      expect(figures.duplicatePublishes).toBeGreaterThan(10);
    } finally {
      for (const reader of readers) reader.stop();
      await Promise.all([nemesis, late, amongPublishers].map((each) => each.stop()));
      await gateway.stop();
    }
  },
  TIME_MS_MAX,
);
