import { createMemoryBroker } from "../brokers/memory.ts";
import type { DrainOptions } from "../core/drain.ts";
import { Hub } from "../core/hub.ts";
import { admissionOf } from "../gateway/config/admission.ts";
import { isLoopbackHost } from "../gateway/config/host.ts";
import { keepAliveMsOf } from "../gateway/config/keep-alive.ts";
import type { LoadedConfig } from "../gateway/config/load.ts";
import type { Config } from "../gateway/config/schema.ts";
import { hasPlayground, upstreamsOf } from "../gateway/config/upstream.ts";
import { describeShortage } from "../gateway/descriptors.ts";
import { ListenError } from "../gateway/listen.ts";
import { startServer } from "../gateway/server.ts";
import type { Logger } from "../gateway/logger.ts";
import type { RunningServer } from "../gateway/server.ts";
import { systemRuntime } from "../internal/clock.ts";
import { banner } from "./banner.ts";
import { addConfigFlags, loadFromFlags, saidFlags } from "./config-flags.ts";
import type { Context } from "./context.ts";
import { ProgressLine, describeProgress } from "./drain-progress.ts";
import { endOfProcess } from "./ending.ts";
import type { EndOfProcess } from "./ending.ts";
import { EXIT, UnavailableError } from "./exit.ts";
import type { ExitCode } from "./exit.ts";
import { tuneGarbageCollection } from "./garbage.ts";
import { describeListenError } from "./listen-report.ts";
import { LogSink, createLogger } from "./log.ts";
import type { Register } from "./register.ts";
import { warnOfSilent } from "./silent-origins.ts";
import { loadAuthorities, loadTls, reloadTlsOnHangup } from "./tls.ts";
import { packageVersion } from "./version.ts";

/** What is still open then goes with the process, in milliseconds: the whole exit takes 1 s at most. */
const EXIT_DEADLINE_MS = 800;
/** Between two lines about a drain, in milliseconds: on a terminal, and in a log. */
const PROGRESS_MS = { terminal: 200, log: 5_000 } as const;
/** For the last log lines to leave, in milliseconds. */
const FLUSH_MS = 100;

export const register: Register = (command, context, done) => {
  addConfigFlags(command).action(async () =>
    done(await serve(loadFromFlags(command, context), saidFlags(command), context)),
  );
};

/** Runs the gateway until a signal or a mistake of its own ends it; then ends the process. */
async function serve(
  loaded: LoadedConfig,
  said: ReadonlyMap<string, readonly string[]>,
  context: Context,
): Promise<ExitCode> {
  const { config, warnings } = loaded;
  const { stdout, stderr } = context;
  const isTerminal = stdout.isTTY;
  tuneGarbageCollection(config.memoryBytesMax);
  const tls = loadTls(loaded);
  const upstreams = upstreamsOf(config, loadAuthorities(loaded));
  const hub = createHubOf(config);
  const sink = new LogSink(stdout, () => {
    hub.metrics.plain.sluice_log_lines_dropped_total += 1;
  });
  const logger = await createLogger(config.logLevel, sink, isTerminal);
  const end = endOfProcess((error, origin) => logger.fatal({ err: error, origin }, "crashed"));

  const line = isTerminal ? new ProgressLine(stdout) : undefined;
  sink.beforeLine = () => line?.clear();
  const tell: Telling = { logger, line };

  let server: RunningServer;
  try {
    server = await startServer(hub, {
      host: config.host,
      port: config.port,
      adminHost: config.adminHost,
      adminPort: config.adminPort,
      unackedMs: config.unacked,
      keepAliveMs: keepAliveMsOf(config.keepAlive),
      tls,
      logger,
      gateway: {
        corsOrigins: config.corsOrigins,
        isOpen: isLoopbackHost(config.host),
        retryMs: config.retry,
        drain: drainOf(config),
        batchBytesMax: config.batchBytesMax,
        admission: admissionOf(config),
        hasPlayground: hasPlayground(config),
        runs: { runsMax: config.runs.max, perTenantMax: config.runs.perTenantMax },
        ...(upstreams !== undefined && { upstreams }),
        logger,
      },
    });
  } catch (error) {
    await hub.close();
    if (!(error instanceof ListenError)) throw error;
    throw new UnavailableError(describeListenError(error, loaded, said), { cause: error });
  }

  const { url, adminUrl } = server;
  if (isTerminal)
    stdout.write(banner(stdout, { version: packageVersion(), url, adminUrl, config }));
  else
    logger.info({ url, adminUrl, configFile: loaded.file, ...upstreamFields(config) }, "listening");
  const warn = (warning: string): void => {
    // On both: whoever keeps only one of them must see it.
    stderr.write(`sluice: WARNING: ${warning}\n`);
    logger.warn(warning);
  };
  const shortage = describeShortage(config.maxConnections);
  for (const warning of shortage === undefined ? warnings : [...warnings, shortage]) warn(warning);
  const origins = upstreams?.routes.map(({ origin }) => origin) ?? [];
  void warnOfSilent(origins, warn);

  // To a terminal's program SIGHUP says that its terminal is gone: that ends it, as it ends others.
  if (tls !== undefined && !isTerminal) reloadTlsOnHangup(loaded, server, logger);

  const asked = server.draining.then(() => ({ kind: "asked" }) as const);
  const ending = await Promise.race([end.first, asked]);
  const exitCode = await (ending.kind === "error"
    ? closeAtOnce(server, EXIT.internal)
    : drain(server, end, { reason: ending.kind === "asked" ? "asked to" : ending.signal }, tell));
  logger.info("closed");
  await sink.flush(FLUSH_MS);
  // Not by running out of work: a log line that nobody reads would keep the process for ever.
  process.exit(exitCode);
}

/** What is proxied, for the log; nothing where nothing is. */
function upstreamFields({ upstream, routes }: Config): object {
  return {
    ...(upstream !== "" && { upstream }),
    ...(routes.length > 0 && { routes: routes.length }),
  };
}

/** How the progress of a drain is told. */
interface Telling {
  readonly logger: Logger;
  /** Without one it is logged. */
  readonly line: ProgressLine | undefined;
}

/** Drains until all have gone, or the deadline, or another signal that ends it at once. */
async function drain(
  server: RunningServer,
  end: EndOfProcess,
  fields: { readonly reason: string },
  { logger, line }: Telling,
): Promise<ExitCode> {
  const drained = server.drain();
  const { total } = server.progress();
  logger.info({ ...fields, connections: total }, "draining");
  const tell = (): void => {
    const { state, left, told, byHow } = server.progress();
    if (state === "drained") line?.clear();
    else if (line !== undefined)
      line.show(describeProgress(server.progress(), "Ctrl-C again stops at once"));
    else logger.info({ left, told, byHow }, "draining");
  };
  if (line !== undefined) tell();
  const timer = setInterval(tell, line === undefined ? PROGRESS_MS.log : PROGRESS_MS.terminal);
  const second = end.second.then((exitCode) => ({ exitCode }));
  const outcome = await Promise.race([drained, second]);
  clearInterval(timer);
  line?.clear();
  if ("exitCode" in outcome) {
    logger.info({ left: server.progress().left }, "ending at once");
    return closeAtOnce(server, outcome.exitCode);
  }
  const { byHow, durationMs, isForced } = outcome;
  logger.info({ total: outcome.total, byHow, durationMs, isForced }, "drained");
  return isForced ? EXIT.forced : EXIT.ok;
}

/** Goodbye to all, and no waiting. What is open after `EXIT_DEADLINE_MS` goes with the process. */
async function closeAtOnce(server: RunningServer, exitCode: ExitCode): Promise<ExitCode> {
  const deadline = setTimeout(() => process.exit(exitCode), EXIT_DEADLINE_MS);
  await server.close();
  clearTimeout(deadline);
  return exitCode;
}

function drainOf({ drain: { wait, perSecond, ackWait, deadline } }: Config): DrainOptions {
  return { waitMs: wait, perSecond, ackWaitMs: ackWait, deadlineMs: deadline };
}

function createHubOf(config: Config): Hub {
  const { memoryBytesMax, topicsMax, eventBytesMax, idempotency, bookmark, topics } = config;
  const runtime = systemRuntime();
  const broker = createMemoryBroker({
    runtime,
    memoryBytesMax,
    topicsMax,
    rules: topics,
    idempotency: { countMax: idempotency.countMax, ageMsMax: idempotency.age },
  });
  return new Hub({
    broker,
    runtime,
    eventBytesMax,
    heartbeat: {
      heartbeatMs: config.heartbeat,
      stallMs: config.stall,
      bookmarkEvents: bookmark.events,
      bookmarkMs: bookmark.age,
      pendingBytesMax: config.pendingBytesMax,
      maxAgeMs: config.maxAge,
      maxAgeJitter: config.maxAgeJitterPercent / 100,
    },
  });
}
