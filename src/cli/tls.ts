import type { LoadedConfig } from "../gateway/config/load.ts";
import { ConfigError } from "../gateway/config/problem.ts";
import type { Logger } from "../gateway/logger.ts";
import type { RunningServer } from "../gateway/server.ts";
import { TlsError, readAuthorities, readTlsIdentity } from "../gateway/tls.ts";
import type { TlsIdentity } from "../gateway/tls.ts";

/** What the files of `tls.cert` and `tls.key` hold; nothing where none is set. Throws `ConfigError`. */
export function loadTls(loaded: LoadedConfig): TlsIdentity | undefined {
  const { tls } = loaded.config;
  return tls.cert === "" ? undefined : readOr(loaded, () => readTlsIdentity(tls));
}

/** What the file of `pool.ca` holds; nothing where none is set. Throws `ConfigError`. */
export function loadAuthorities(loaded: LoadedConfig): Buffer | undefined {
  const { ca } = loaded.config.pool;
  return ca === "" ? undefined : readOr(loaded, () => readAuthorities(ca));
}

function readOr<T>({ sources }: LoadedConfig, read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof TlsError)) throw error;
    const key = error.part === "ca" ? "pool.ca" : `tls.${error.part}`;
    throw new ConfigError([{ where: sources.get(key) ?? "default", key, message: error.message }]);
  }
}

/** From now on SIGHUP reads the files again; if they cannot be used, the certificate in use stays. */
export function reloadTlsOnHangup(
  loaded: LoadedConfig,
  server: RunningServer,
  logger: Logger,
): void {
  process.on("SIGHUP", () => {
    try {
      const identity = loadTls(loaded);
      if (identity === undefined) return;
      server.setTls(identity);
      logger.info({ cert: loaded.config.tls.cert }, "certificate reloaded");
    } catch (error) {
      const reason = error instanceof ConfigError ? error.message : String(error);
      logger.error({ reason }, "certificate not reloaded; the one in use stays");
    }
  });
}
