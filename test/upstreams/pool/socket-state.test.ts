import * as fc from "fast-check";
import { expect, test } from "vitest";
import { Metrics } from "../../../src/core/metrics.ts";
import { AssertionError } from "../../../src/internal/assert.ts";
import { Lease } from "../../../src/upstreams/pool/lease.ts";
import { MOVES, SOCKET_STATES, SocketLife } from "../../../src/upstreams/pool/socket-state.ts";
import { get } from "./origins.ts";

test("A socket makes the moves of the table and no other, and is counted where it is (law 23)", () => {
  fc.assert(
    fc.property(fc.array(fc.constantFrom(...SOCKET_STATES), { maxLength: 30 }), (wanted) => {
      const metrics = new Metrics();
      const life = new SocketLife(metrics);
      for (const to of wanted) {
        const from = life.state;
        if (MOVES[from].includes(to)) life.move(to);
        else expect(() => life.move(to)).toThrow(AssertionError);
        expect(life.state).toBe(MOVES[from].includes(to) ? to : from);
        for (const state of SOCKET_STATES) {
          const count = metrics.get("sluice_upstream_sockets", state);
          expect(count).toBe(state === life.state ? 1 : 0);
        }
      }
      if (life.state !== "dead") {
        expect(() => life.forget()).toThrow(AssertionError);
        life.move("dead");
      }
      life.forget();
      expect(metrics.get("sluice_upstream_sockets", "dead")).toBe(0);
    }),
  );
});

test("R14 law 22: a lease that is given back knows nothing of its request, and learns nothing more", () => {
  const metrics = new Metrics();
  const released: Lease[] = [];
  const headers = [
    ["last-event-id", "41"],
    ["authorization", "Bearer secret"],
  ] as const;
  const lease = new Lease(get(80, "/", { headers }), metrics, (one) => released.push(one));
  const { context } = lease;
  expect(context.request?.headers).toBe(headers);
  lease.release();
  expect(context.request).toBeUndefined();
  expect(Object.isFrozen(context)).toBe(true);
  expect(() => {
    context.request = get(80);
  }).toThrow(TypeError);
  expect(JSON.stringify(lease)).not.toContain("secret");
  expect(released).toEqual([lease]);
});

test("R13: giving back twice does nothing but count", () => {
  const metrics = new Metrics();
  let releases = 0;
  const lease = new Lease(get(80), metrics, () => void (releases += 1));
  lease.release();
  lease.release();
  lease.release();
  expect(releases).toBe(1);
  expect(metrics.plain.sluice_upstream_double_releases_total).toBe(2);
});
