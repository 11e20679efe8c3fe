import { createMemoryBroker } from "../brokers/memory.ts";
import { Hub } from "../core/hub.ts";
import { isLoopbackHost } from "../gateway/config/host.ts";
import type { LoadedConfig } from "../gateway/config/load.ts";
import type { Config } from "../gateway/config/schema.ts";
import { ListenError } from "../gateway/listen.ts";
import { startServer } from "../gateway/server.ts";
import type { RunningServer } from "../gateway/server.ts";
import { systemRuntime } from "../internal/clock.ts";
import { banner } from "./banner.ts";
import { addConfigFlags, loadFromFlags, saidFlags } from "./config-flags.ts";
import type { Context } from "./context.ts";
import { EXIT, UnavailableError } from "./exit.ts";
import type { ExitCode } from "./exit.ts";
import { describeListenError } from "./listen-report.ts";
import { LogSink, createLogger } from "./log.ts";
import type { Register } from "./register.ts";
import { packageVersion } from "./version.ts";

/** What is still open then goes with the process, in milliseconds: the whole exit takes 1 s at most. */
const EXIT_DEADLINE_MS = 800;
/** Signals so close together are one, in milliseconds. */
const SAME_SIGNAL_MS = 300;
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
  const hub = createHubOf(config);
  const sink = new LogSink(stdout, () => {
    hub.metrics.plain.sluice_log_lines_dropped_total += 1;
  });
  const logger = await createLogger(config.logLevel, sink, isTerminal);
  const ending = endOfProcess((error, origin) => logger.fatal({ err: error, origin }, "crashed"));

  let server: RunningServer;
  try {
    server = await startServer(hub, {
      host: config.host,
      port: config.port,
      adminHost: config.adminHost,
      adminPort: config.adminPort,
      logger,
      gateway: {
        corsOrigins: config.corsOrigins,
        isOpen: isLoopbackHost(config.host),
        retryMs: config.retry,
        batchBytesMax: config.batchBytesMax,
        hasPlayground: true,
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
  else logger.info({ url, adminUrl, configFile: loaded.file }, "listening");
  for (const warning of warnings) {
    // On both: whoever keeps only one of them must see it.
    stderr.write(`sluice: WARNING: ${warning}\n`);
    logger.warn(warning);
  }

  const { exitCode, reason } = await ending;
  logger.info({ reason }, "closing");
  const deadline = setTimeout(() => process.exit(exitCode), EXIT_DEADLINE_MS);
  await server.close();
  logger.info("closed");
  await sink.flush(FLUSH_MS);
  clearTimeout(deadline);
  // Not by running out of work: a log line that nobody reads would keep the process for ever.
  process.exit(exitCode);
}

interface Ending {
  readonly exitCode: ExitCode;
  readonly reason: string;
}

/**
 * Resolves with the first signal or uncaught error. A second signal ends the process at once, but not
 * one that comes with the first: Ctrl-C under `npm start` arrives twice, from the terminal and from
 * npm. Later errors are logged, and change nothing.
 */
function endOfProcess(onError: (error: unknown, origin: string) => void): Promise<Ending> {
  return new Promise((resolve) => {
    let firstAt: number | undefined;
    const onSignal = (signal: NodeJS.Signals): void => {
      const now = performance.now();
      firstAt ??= now;
      if (now - firstAt >= SAME_SIGNAL_MS) process.exit(EXIT.ok);
      resolve({ exitCode: EXIT.ok, reason: signal });
    };
    process.on("SIGINT", onSignal).on("SIGTERM", onSignal);
    // Rejections that nobody handles come here too. The state is unknown by now, so we end.
    process.on("uncaughtException", (error, origin) => {
      onError(error, origin);
      resolve({ exitCode: EXIT.internal, reason: origin });
    });
  });
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
    },
  });
}
