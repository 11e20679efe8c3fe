import { PassThrough } from "node:stream";
import { describe, expect, test } from "vitest";
import { Findings } from "../../src/cli/doctor/finding.ts";
import type { Finding } from "../../src/cli/doctor/finding.ts";
import { hopsOf } from "../../src/cli/doctor/hops.ts";
import { checkMachine } from "../../src/cli/doctor/machine-checks.ts";
import { readMachine } from "../../src/cli/doctor/machine.ts";
import { run } from "../../src/cli/run.ts";
import { configSchema } from "../../src/gateway/config/schema.ts";
import { rawClient, startWorld } from "../gateway/support.ts";

/** A machine that was told nothing, as Debian 12 is. */
const FILES: Readonly<Record<string, string>> = {
  "/proc/sys/net/core/somaxconn": "4096\n",
  "/proc/sys/net/ipv4/tcp_notsent_lowat": "4294967295\n",
  "/proc/sys/net/ipv4/tcp_wmem": "4096\t16384\t4194304\n",
  "/proc/sys/net/ipv4/tcp_retries2": "15\n",
  "/proc/sys/net/ipv4/tcp_keepalive_time": "7200\n",
  "/proc/sys/net/ipv4/tcp_keepalive_intvl": "75\n",
  "/proc/sys/net/ipv4/tcp_keepalive_probes": "9\n",
  "/proc/sys/net/ipv4/ip_local_port_range": "32768\t60999\n",
  "/proc/net/tcp": "",
};

interface Machine {
  readonly files?: Readonly<Record<string, string | undefined>>;
  readonly nodeVersion?: string;
  readonly descriptors?: number;
  readonly maxConnections?: number;
}

function examine(machine: Machine = {}): ReadonlyMap<string, Finding> {
  const { nodeVersion = "26.10.0", descriptors = 20_000, maxConnections = 0 } = machine;
  const files: Readonly<Record<string, string | undefined>> = { ...FILES, ...machine.files };
  const read = (path: string): string => {
    const text = files[path];
    if (text === undefined) throw new Error("ENOENT");
    return text;
  };
  const seen = new Map<string, Finding>();
  checkMachine(
    readMachine(read, { nodeVersion, descriptors: { max: descriptors, isAssumed: false } }),
    configSchema.parse({ maxConnections }),
    new Findings("machine", (finding) => seen.set(finding.check, finding)),
  );
  return seen;
}

describe("this machine", () => {
  test("what the kernel hides of clients that never read is said loudly, with the sysctl", () => {
    const finding = examine().get("tcp_notsent_lowat");
    expect(finding?.status).toBe("finding");
    expect(finding?.what).toContain("HIDES ABOUT 3.8 MiB FOR EACH CLIENT THAT NEVER READS");
    expect(finding?.fix).toEqual(["sysctl -w net.ipv4.tcp_notsent_lowat=16384"]);
    const mended = { "/proc/sys/net/ipv4/tcp_notsent_lowat": "16384\n" };
    expect(examine({ files: mended }).get("tcp_notsent_lowat")?.status).toBe("ok");
    // A small send buffer hides as little.
    const small = { "/proc/sys/net/ipv4/tcp_wmem": "4096\t16384\t262144\n" };
    expect(examine({ files: small }).get("tcp_notsent_lowat")?.status).toBe("ok");
  });

  test("P16 a limit of descriptors that is too low is found, and what follows from it is said", () => {
    expect(examine().get("descriptors")).toMatchObject({
      status: "ok",
      what: expect.stringContaining("is 20,000: 19,600 connections"),
    });
    expect(examine({ descriptors: 1_024 }).get("descriptors")?.status).toBe("finding");
    const wanted = examine({ maxConnections: 100_000 }).get("descriptors");
    expect(wanted?.what).toContain("too low for maxConnections=100000");
    expect(wanted?.fix).toContain("systemd: LimitNOFILE=200000");
  });

  test("F01 keep-alive is a matter of the sysctls where Node cannot state it", () => {
    expect(examine().get("tcp_keepalive")?.status).toBe("ok");
    const finding = examine({ nodeVersion: "22.23.0" }).get("tcp_keepalive");
    expect(finding?.what).toContain("after 7875s");
    expect(finding?.fix?.[0]).toContain("tcp_keepalive_time=4 ");
    const mended = {
      "/proc/sys/net/ipv4/tcp_keepalive_time": "4\n",
      "/proc/sys/net/ipv4/tcp_keepalive_intvl": "2\n",
      "/proc/sys/net/ipv4/tcp_keepalive_probes": "3\n",
    };
    const after = examine({ nodeVersion: "22.23.0", files: mended });
    expect(after.get("tcp_keepalive")?.status).toBe("ok");
  });

  test("F02 the retries of the kernel matter where its table of sockets cannot be read", () => {
    expect(examine().get("tcp_retries2")?.status).toBe("ok");
    const hidden = examine({ files: { "/proc/net/tcp": undefined } }).get("tcp_retries2");
    expect(hidden).toMatchObject({ status: "finding", fix: ["sysctl -w net.ipv4.tcp_retries2=8"] });
  });

  test("a short backlog and too few local ports are found", () => {
    const files = { "/proc/sys/net/core/somaxconn": "128\n" };
    expect(examine({ files }).get("somaxconn")?.status).toBe("finding");
    expect(examine({ descriptors: 500_000 }).get("ip_local_port_range")?.status).toBe("finding");
  });

  test("what another system does not have is unknown, and no finding", () => {
    const files = Object.fromEntries(Object.keys(FILES).map((path) => [path, undefined]));
    const seen = [...examine({ files }).values()];
    expect(seen.filter(({ status }) => status === "finding")).toEqual([]);
    expect(seen.filter(({ status }) => status === "unknown").length).toBeGreaterThan(3);
  });
});

interface Ran {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

async function doctor(...args: string[]): Promise<Ran> {
  let [out, err] = ["", ""];
  const stdout = new PassThrough().on("data", (bytes: Buffer) => (out += bytes.toString()));
  const stderr = new PassThrough().on("data", (bytes: Buffer) => (err += bytes.toString()));
  const code = await run(["doctor", ...args], {
    stdin: process.stdin,
    stdout: stdout as unknown as NodeJS.WriteStream,
    stderr: stderr as unknown as NodeJS.WriteStream,
    env: {},
    folder: "/",
  });
  return { code, out, err };
}

describe("sluice doctor", () => {
  test("on the way to a gateway that nothing stands in front of all is well, and it leaves nothing behind", async () => {
    const world = await startWorld();
    const { code, out, err } = await doctor(world.url, "--no-machine", "--wait", "1s");
    expect(err).toBe("");
    expect(out).toContain("all well");
    expect(out).not.toMatch(/FINDING|unknown/);
    expect(code).toBe(0);
    await expect.poll(() => world.hub.subscribersNow).toBe(0);
  });

  test("it publishes to topics of its own alone", async () => {
    const world = await startWorld();
    const others = rawClient(world.port);
    others.send("GET /v1/topics/** HTTP/1.1\r\nHost: localhost\r\n\r\n");
    await others.until("\n\n");
    await doctor(world.url, "--no-machine", "--wait", "0");
    const topics = [...others.text.matchAll(/"topic":"([^"]+)"/g)].map(([, topic]) => topic);
    expect(topics.length).toBeGreaterThan(5);
    for (const topic of topics) expect(topic).toMatch(/^sluice-doctor\/[\w~-]+\/[a-z]+$/);
  });

  test("--json is one object a line, and --skip leaves a finding out", async () => {
    const { code, out } = await doctor("--json", "--skip", "tcp_notsent_lowat");
    const lines = out
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as Finding);
    expect(lines.at(-1)).toHaveProperty("summary.ok");
    expect(lines.map(({ check }) => check)).toContain("descriptors");
    expect(lines.map(({ check }) => check)).not.toContain("tcp_notsent_lowat");
    expect(code).toBe(lines.some(({ status }) => status === "finding") ? 1 : 0);
  });

  test("an address that nobody listens on, or that is no Sluice, is one finding", async () => {
    const world = await startWorld();
    for (const url of ["http://127.0.0.1:1", world.adminUrl]) {
      const { code, out } = await doctor(url, "--no-machine");
      expect(code).toBe(1);
      expect(out).toMatch(/FINDING reach: http:\/\/127/);
      expect(out).toContain("1 finding, 0 ok");
    }
  });

  test("a proxy that passes the public Host on is found, with what to set", async () => {
    const world = await startWorld();
    const { code, out } = await doctor(world.url, "--no-machine", "--header", "Host: example.org");
    expect(code).toBe(1);
    expect(out).toContain("403 host_forbidden");
    expect(out).toContain("nginx: proxy_set_header Host 127.0.0.1;");
  });

  test("a gateway that drains says goodbye itself, which is no fault of the way", async () => {
    const world = await startWorld();
    const diagnosed = doctor(world.url, "--no-machine", "--wait", "8s");
    await expect.poll(() => world.hub.metrics.plain.sluice_publications_total).toBeGreaterThan(8);
    void world.drain({ ackWaitMs: 100 });
    const { out } = await diagnosed;
    expect(out).toContain("unknown idle: the gateway itself said goodbye: pool_draining");
  });

  test("a gateway that takes no more subscriptions is no fault of the way either", async () => {
    const world = await startWorld({
      gateway: { admission: { maxConnections: 1, openPercent: 1 } },
    });
    const { out } = await doctor(world.url, "--no-machine", "--wait", "1s");
    expect(out).toMatch(/unknown buffering: a subscription was answered 503/);
    expect(out).not.toContain("FINDING");
  });

  test.each([
    [["--wait", "soon"], "--wait is a time"],
    [["--no-machine"], "--no-machine needs a URL"],
    [["ftp://x"], "is not a URL"],
    [["http://127.0.0.1:1", "--header", "secret"], "--header is not of the form"],
  ])("%j is refused in one line", async (args, message) => {
    const { code, err } = await doctor(...args);
    expect(code).toBe(64);
    expect(err).toContain(message);
    expect(err).not.toContain("secret");
  });
});

test("what stands in the way is told by its headers", () => {
  expect(hopsOf({ server: "nginx/1.22.1" })).toEqual(["nginx"]);
  expect(hopsOf({ server: "awselb/2.0" })).toEqual(["alb"]);
  expect(hopsOf({ via: "1.1 google, 1.1 varnish" })).toEqual(["gcp", "varnish"]);
  expect(hopsOf({})).toEqual([]);
});
