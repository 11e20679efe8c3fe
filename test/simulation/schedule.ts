import { TOPICS, World } from "./world.ts";
import type { Plants } from "./world.ts";

const STEPS = 60;

/** Runs the schedule of `seed` and returns what is wrong, with the end of the history. */
export async function runSchedule(seed: number, plants?: Plants): Promise<string[]> {
  const world = new World(seed, plants);
  // Two that follow everything from the start, so that the log is known whatever else happens.
  world.join("earliest", ["**"]);
  world.join("latest", ["a"]);
  for (let step = 0; step < STEPS; step += 1) {
    await act(world);
    await letTimePass(world);
  }
  return world.verdict();
}

async function act(world: World): Promise<void> {
  const { dice } = world;
  const topic = dice.pick(TOPICS);
  const what = dice.integer(1, 100);
  if (what <= 45) {
    const count = dice.chance(0.7) ? 1 : dice.integer(2, 20);
    for (let burst = dice.integer(1, 4); burst > 0; burst -= 1) {
      void dice.pick(world.publishers).publish(world.hub, count);
    }
  } else if (what <= 60) {
    if (world.canJoin()) world.join();
  } else if (what <= 75) {
    const [reader] = world.openReaders().filter(() => dice.chance(0.5));
    const connection = reader?.connection;
    if (connection !== undefined) connection.cut("reset", dice.integer(0, connection.pendingBytes));
  } else if (what <= 82) {
    for (const { connection } of world.openReaders()) if (dice.chance(0.4)) connection?.block();
  } else if (what <= 88) {
    for (const { connection } of world.openReaders()) {
      if (dice.chance(0.5)) connection?.release(dice.pick([100, 10_000, Infinity]));
    }
  } else if (what <= 91) {
    void world.hub.end("t", topic, "done").catch(ignoreBlip);
  } else if (what <= 95) {
    void world.hub.declare("t", topic, world.settings()).catch(ignoreBlip);
  } else if (what <= 97) {
    for (const reader of world.readers) void reader.open(world.hub);
  } else if (world.unsteady !== undefined) {
    await misbehave(world, what);
  }
  if (dice.chance(0.5)) {
    for (const reader of world.readers) if (dice.chance(0.5)) void reader.open(world.hub);
  }
}

async function misbehave(world: World, what: number): Promise<void> {
  const { unsteady, dice, runtime } = world;
  if (unsteady === undefined) return;
  if (what <= 98) {
    const { refusals } = unsteady.options;
    if (refusals === 1) return;
    unsteady.options = { ...unsteady.options, refusals: 1 };
    runtime.after(dice.integer(10, 3_000), () => {
      unsteady.options = { ...unsteady.options, refusals };
    });
  } else if (world.publishers.every((publisher) => !publisher.isRetrying)) {
    world.restarts += 1;
    await unsteady.restart();
  }
}

async function letTimePass({ runtime, dice }: World): Promise<void> {
  const how = dice.integer(1, 10);
  if (how <= 3) return;
  if (how <= 6) await runtime.runTurn();
  else if (how <= 9) await runtime.run(dice.integer(0, 60));
  else await runtime.run(dice.pick([1_000, 6_000, 25_000]));
}

/** A blip may refuse it; then nothing has happened, or it has. */
function ignoreBlip(error: unknown): void {
  if ((error as { code?: string }).code !== "broker_unavailable") throw error;
}
