import * as fc from "fast-check";
import { expect, test } from "vitest";
import { openStream, post, send, startWorld } from "./support.ts";
import type { Reply, World } from "./support.ts";

const TOPIC = "/v1/topics/a";

function put(world: World, body: string, type = "application/json"): Promise<Reply> {
  return send(world, TOPIC, { method: "PUT", body, headers: { "content-type": type } });
}

test("PUT declares what is kept of a topic", async () => {
  const world = await startWorld();
  const settings = {
    retention: { count: 2, bytes: "1MiB", age: "1h" },
    lane: "high",
    policy: "conflate",
    ttl: 60_000,
  };
  const reply = await put(world, JSON.stringify(settings));
  expect([reply.status, reply.text]).toEqual([204, ""]);
  for (const data of ["1", "2", "3"]) await post(world, TOPIC, data);
  const stream = await openStream(world, `${TOPIC}?last_event_id=earliest`);
  expect((await stream.take(2)).map(({ data }) => data)).toEqual(["2", "3"]);
});

const REFUSED: [string, string, string, number, string][] = [
  ["an unknown setting", '{"retain":1}', "application/json", 400, "settings_invalid"],
  ["a wrong type", '{"retention":{"count":"many"}}', "application/json", 400, "settings_invalid"],
  ["a negative bound", '{"retention":{"count":-1}}', "application/json", 400, "settings_invalid"],
  ["an unknown lane", '{"lane":"express"}', "application/json", 400, "settings_invalid"],
  ["a list", "[]", "application/json", 400, "settings_invalid"],
  ["null", "null", "application/json", 400, "settings_invalid"],
  ["no JSON", "lane=high", "application/json", 400, "body_not_json"],
  ["text", '{"lane":"high"}', "text/plain", 415, "media_type_unsupported"],
  ["64 KiB and more", " ".repeat(65_537), "application/json", 400, "settings_invalid"],
];

test.each(REFUSED)("settings with %s are refused", async (_, body, type, status, code) => {
  const world = await startWorld();
  const reply = await put(world, body, type);
  expect([reply.status, reply.json["code"]]).toEqual([status, code]);
});

test("DELETE ends the topic, and needs no topic to be there", async () => {
  const world = await startWorld();
  const reply = await send(world, TOPIC, { method: "DELETE" });
  expect([reply.status, reply.json]).toEqual([
    200,
    { id: expect.stringMatching(/\.1$/), durability: "memory" },
  ]);
  const misspelt = await send(world, `${TOPIC}?force=1`, { method: "DELETE" });
  expect(misspelt.json["code"]).toBe("parameter_invalid");
});

test("DELETE takes no body, as GET takes none", async () => {
  const world = await startWorld();
  for (const method of ["DELETE", "GET"]) {
    const reply = await send(world, TOPIC, {
      method,
      body: "x",
      headers: { "content-length": "1" },
    });
    expect([reply.status, reply.json["code"]]).toEqual([400, "request_malformed"]);
  }
  expect((await post(world, TOPIC, "still open")).status).toBe(201);
});

test("S26 no JSON that is sent anywhere pollutes a prototype", async () => {
  const world = await startWorld();
  const poison = fc.constantFrom(
    "__proto__",
    "constructor",
    "prototype",
    "polluted",
    "retention",
    "lane",
  );
  const value = fc.letrec((tie) => ({
    node: fc.oneof(
      { depthSize: "small" },
      fc.constant(true),
      fc.integer(),
      fc.array(tie("node"), { maxLength: 3 }),
      fc.array(fc.tuple(poison, tie("node")), { maxLength: 3 }).map(
        // Written as text: an object literal would set the prototype instead of the member.
        (members) => ({
          text: members.map(([name, node]) => `${JSON.stringify(name)}:${textOf(node)}`),
        }),
      ),
    ),
  })).node;
  await fc.assert(
    fc.asyncProperty(value, async (node) => {
      const body = textOf(node);
      expect((await put(world, body)).status).toBeLessThan(500);
      const type = { "content-type": "application/json" };
      expect((await post(world, "/v1/topics/b", body, type)).status).toBe(201);
      expect(({} as Record<string, unknown>)["polluted"]).toBeUndefined();
      expect(Object.getPrototypeOf({})).toBe(Object.prototype);
    }),
    { numRuns: 100 },
  );
  await put(world, '{"__proto__":{"polluted":1},"constructor":{"prototype":{"polluted":1}}}');
  expect(({} as Record<string, unknown>)["polluted"]).toBeUndefined();
});

function textOf(node: unknown): string {
  if (Array.isArray(node)) return `[${node.map(textOf).join(",")}]`;
  if (typeof node === "object" && node !== null && "text" in node) {
    return `{${(node.text as string[]).join(",")}}`;
  }
  return JSON.stringify(node);
}
