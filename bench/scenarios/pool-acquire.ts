import { once } from "node:events";
import { connect, createServer } from "node:net";
import type { AddressInfo, Socket } from "node:net";
import { Metrics } from "../../src/core/metrics.ts";
import { systemRuntime } from "../../src/internal/clock.ts";
import type { UpstreamRequest } from "../../src/upstreams/message.ts";
import { parseOrigin } from "../../src/upstreams/origin.ts";
import { Connections } from "../../src/upstreams/pool/connections.ts";
import { Lease } from "../../src/upstreams/pool/lease.ts";
import { poolOptions } from "../../src/upstreams/pool/pool-options.ts";
import { TenantShares } from "../../src/upstreams/pool/tenant-shares.ts";
import { atMost } from "../support/record.ts";
import type { Scenario } from "../support/scenario.ts";

const WARM_UP = 100_000;
const TIMES = 1_000_000;
const TENANTS = 100;

/**
 * What the pool itself costs a request whose socket is idle: to choose the socket, to judge that it may
 * be used and that the tenant may have it, the lease with its context, and all of it backwards. Real
 * sockets, 128 of them; no HTTP, which is Node's.
 */
export const poolAcquire: Scenario = {
  title: "acquire and release of an idle upstream socket, 128 sockets, 100 tenants",
  servers: ["send-only"],
  runs: 5,
  seconds: 1,
  async run() {
    const server = createServer();
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as AddressInfo;
    const origin = parseOrigin(`http://127.0.0.1:${port}`, { isNamed: true });
    const metrics = new Metrics();
    const runtime = systemRuntime();
    const options = poolOptions({ idleMs: 3_600_000 });
    let connectionsNow = 0;
    const { promise: isReady, resolve: ready } = Promise.withResolvers<void>();
    const dial = async (): Promise<{ kind: "http1"; socket: Socket }> => {
      const socket = connect(port, "127.0.0.1");
      await once(socket, "connect");
      return { kind: "http1", socket };
    };
    const logger = { debug: ignore, warn: ignore };
    const connections = new Connections(
      origin,
      { runtime, metrics, logger, dial, options },
      {
        onFree: () => {
          connectionsNow += 1;
          if (connectionsNow === options.socketsMax) ready();
        },
        onDialFailed: (error) => {
          throw error;
        },
      },
    );
    connections.dial(options.socketsMax, 0);
    await isReady;
    const shares = new TenantShares(options.tenantPercentMax);
    const requests = Array.from({ length: TENANTS }, (_, index): UpstreamRequest => {
      return { origin, method: "GET", path: "/", headers: [], tenant: `tenant-${index}` };
    });
    const onRelease = ({ tenant }: Lease): void => shares.gaveBack(tenant);
    const turn = (request: UpstreamRequest): void => {
      const now = runtime.now();
      shares.saw(request.tenant, now);
      if (shares.roomFor(request.tenant, connections.capacity, now) <= 0)
        throw new Error("no room");
      const pooled = connections.free();
      if (pooled?.kind !== "http1") throw new Error("no socket");
      connections.take(pooled);
      shares.took(request.tenant);
      const lease = new Lease(request, metrics, onRelease);
      pooled.take();
      pooled.giveBack(lease, true, Infinity);
    };
    const loop = (times: number): number => {
      const from = performance.now();
      for (let index = 0; index < times; index += 1) turn(requests[index % TENANTS]!);
      return ((performance.now() - from) * 1_000) / times;
    };
    loop(WARM_UP);
    const acquireReleaseMicros = loop(TIMES);
    connections.close();
    server.close();
    return { acquireReleaseMicros };
  },
  judge: ({ "send-only": figures }) => [
    atMost("acquire and release, µs", figures?.["acquireReleaseMicros"] ?? Number.NaN, 5),
  ],
};

function ignore(): void {}
