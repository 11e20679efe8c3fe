// What proxies do to streams unless told otherwise, and that `sluice doctor` says what to set.
import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { subscribe } from "../../src/client/index.ts";
import { post, startWorld } from "../gateway/support.ts";
import { describeWith, needs } from "../support/programs.ts";
import { PROXIES, diagnose, replaced, startHaproxy, startNginx } from "./support.ts";
import type { Edit } from "./support.ts";

/**
 * One nginx heeds the gateway's own X-Accel-Buffering, and a second one behind it is not told. To the
 * gateway it speaks HTTP/1.0 unless told otherwise; what comes in chunks it happens not to hold back.
 */
const BUFFERED: Edit = (config) =>
  replaced(config, [
    ["proxy_buffering off;", "proxy_buffering on;\n    proxy_ignore_headers X-Accel-Buffering;"],
    ["proxy_http_version 1.1;", ""],
  ]);
const PACKED: Edit = (config) =>
  replaced(config, [
    ["gzip off;", "gzip on;\n    gzip_types text/event-stream;\n    gzip_min_length 0;"],
  ]);
const IMPATIENT: Readonly<Record<string, Edit>> = {
  nginx: (config) => replaced(config, [["proxy_read_timeout 1h;", "proxy_read_timeout 5s;"]]),
  haproxy: (config) => replaced(config, [["timeout server 75s", "timeout server 5s"]]),
};

describeWith({ nginx: needs("nginx") }, "nginx as it comes", ({ nginx }) => {
  test("F26 a proxy that buffers is found, with the directive to set", async () => {
    const world = await startWorld();
    const proxy = await startNginx(nginx, world, BUFFERED);
    const { exitCode, of } = await diagnose(proxy.url, "--wait", "0");
    expect(exitCode).toBe(1);
    expect(of("buffering")).toMatchObject({
      status: "finding",
      what: expect.stringContaining("nginx buffers"),
      fix: ["nginx: proxy_buffering off;"],
    });
  });

  test("F26 what the gateway says of itself is enough for one nginx that was told nothing", async () => {
    const world = await startWorld();
    const proxy = await startNginx(nginx, world, (config) =>
      replaced(config, [["proxy_buffering off;", ""]]),
    );
    expect((await diagnose(proxy.url, "--wait", "0")).of("buffering")?.status).toBe("ok");
  });

  test("F29 compression of streams is found; events come all the same, within less than a heartbeat", async () => {
    const world = await startWorld();
    const proxy = await startNginx(nginx, world, PACKED);
    const { of } = await diagnose(proxy.url, "--wait", "0");
    expect(of("compression")).toMatchObject({
      status: "finding",
      what: expect.stringMatching(/\(gzip\).* came within [0-9]+ ms/),
      fix: ["nginx: gzip off;"],
    });
  });
});

describeWith({ haproxy: needs("haproxy") }, "HAProxy as it comes", ({ haproxy }) => {
  test("the delay that it adds to each event is found, and that it hides who has gone", async () => {
    const world = await startWorld();
    const proxy = await startHaproxy(haproxy, world, (config) =>
      replaced(config, [
        ["option http-no-delay", ""],
        ["option abortonclose", ""],
      ]),
    );
    const { of } = await diagnose(proxy.url, "--wait", "0");
    expect(of("delay")).toMatchObject({
      status: "finding",
      fix: expect.arrayContaining(["HAProxy: option http-no-delay"]),
    });
    expect(of("gone")).toMatchObject({
      status: "finding",
      fix: expect.arrayContaining(["HAProxy: option abortonclose"]),
    });
  });
});

for (const { name, program, start } of PROXIES) {
  describeWith({ proxy: program }, `${name} that cuts after 5 s`, ({ proxy: binary }) => {
    test("F27 each cut resumes exactly, and the timeout is found", async () => {
      const world = await startWorld();
      const proxy = await start(binary, world, IMPATIENT[name]);
      const cuts: string[] = [];
      const received = (async () => {
        const data: string[] = [];
        for await (const item of subscribe({
          url: proxy.url,
          topics: ["quiet"],
          from: "earliest",
          onReconnect: ({ reason }) => cuts.push(reason),
        })) {
          if (item.type !== "event") throw new Error(`${item.type}: ${JSON.stringify(item)}`);
          data.push(item.data);
          if (data.length === 3) break;
        }
        return data;
      })();
      const diagnosed = diagnose(proxy.url, "--wait", "9s");
      for (let n = 0; n < 3; n += 1) {
        // Behind the cut that the pause brings: the client is back after 3 s at most, and cut 5 s later.
        if (n > 0) await sleep(9_000);
        await post(world, "/v1/topics/quiet", `${n}`);
      }
      expect(await received).toEqual(["0", "1", "2"]);
      expect(cuts.length).toBeGreaterThanOrEqual(2);
      expect((await diagnosed).of("idle")).toMatchObject({
        status: "finding",
        what: "intermediary idle timeout about 5 s < heartbeat 20 s",
      });
    });
  });
}
