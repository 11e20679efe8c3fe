import { Socket } from "node:net";
import { expect, test } from "vitest";
import { inTurn } from "../../src/gateway/turns.ts";

test("turns of one socket start in the order they were taken, whichever was ready first", async () => {
  const socket = new Socket();
  const started: number[] = [];
  const ready: (() => void)[] = [];
  const failed = new Error("the third body was too large");
  const turns = [0, 1, 2, 3].map((turn) => {
    const body = new Promise<void>((resolve, reject) => {
      ready[turn] = turn === 2 ? () => reject(failed) : resolve;
    });
    return inTurn(socket, body, async () => started.push(turn)).catch((error: unknown) => error);
  });
  for (const turn of [3, 2, 1]) ready[turn]?.();
  expect(await turns[2]).toBe(failed);
  expect(started).toEqual([]);
  ready[0]?.();
  await Promise.all(turns);
  expect(started).toEqual([0, 1, 3]);
});

test("a turn does not wait for the outcome of the one before it", async () => {
  const socket = new Socket();
  const never = inTurn(socket, Promise.resolve(), () => new Promise<void>(() => {}));
  expect(await inTurn(socket, Promise.resolve(), async () => "done")).toBe("done");
  expect(never).toBeInstanceOf(Promise);
});
