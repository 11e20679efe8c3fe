import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { ensureBuilt } from "../support/built.ts";

const command = fileURLToPath(new URL("../../dist/cli/main.js", import.meta.url));

/** `sluice serve` as users run it, built, in a process of its own. */
export class GatewayProcess {
  readonly port: number;
  readonly adminUrl: string;
  readonly #child: ChildProcess;
  readonly #folder: string;

  private constructor(child: ChildProcess, folder: string, url: string, adminUrl: string) {
    this.#child = child;
    this.#folder = folder;
    this.port = Number(new URL(url).port);
    this.adminUrl = adminUrl;
  }

  /** `yaml` is added to the configuration; `port` is for one that comes back after another. */
  static async start(yaml = "", port = 0): Promise<GatewayProcess> {
    await ensureBuilt();
    const folder = mkdtempSync(join(tmpdir(), "sluice-soak-"));
    const config = join(folder, "sluice.config.yaml");
    writeFileSync(config, `port: ${port}\nadminPort: 0\nretry: 100ms\n${yaml}`);
    const child = spawn(process.execPath, [command, "serve", "--config", config], {
      cwd: folder,
      stdio: ["ignore", "pipe", "inherit"],
    });
    const listening = new Promise<{ url: string; adminUrl: string }>((resolve, reject) => {
      child.once("exit", (code) => reject(new Error(`the gateway ended with ${code}`)));
      createInterface({ input: child.stdout }).on("line", (line) => {
        const { msg, url, adminUrl } = JSON.parse(line) as Record<string, string>;
        if (msg === "listening") resolve({ url: url ?? "", adminUrl: adminUrl ?? "" });
      });
    });
    const { url, adminUrl } = await listening;
    return new GatewayProcess(child, folder, url, adminUrl);
  }

  /** The values of one metric, summed over its labels. */
  async metric(name: string): Promise<number> {
    const text = await (await fetch(`${this.adminUrl}/metrics`)).text();
    const values = text.split("\n").filter((line) => new RegExp(`^${name}[{ ]`).test(line));
    return values.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(" ") + 1)), 0);
  }

  /** Resolves when the process has gone. */
  async stop(signal: NodeJS.Signals = "SIGTERM"): Promise<void> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) {
      const exited = once(this.#child, "exit");
      this.#child.kill(signal);
      await exited;
    }
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
