import { chmodSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { connect } from "node:tls";
import { beforeAll, expect, test } from "vitest";
import { ensureBuilt } from "../support/built.ts";
import { makeCertificate, writeCertificate } from "../support/certificate.ts";
import type { CertificateFiles } from "../support/certificate.ts";
import { describeWith, needs } from "../support/programs.ts";
import { FREE_PORTS, serve, sluice } from "./support.ts";

beforeAll(ensureBuilt, 90_000);

interface Bad {
  readonly what: string;
  /** Spoils what was right. */
  readonly spoil: (files: CertificateFiles, openssl: string) => void;
  readonly says: RegExp;
}

const BAD: readonly Bad[] = [
  {
    what: "a certificate that is none",
    spoil: ({ cert }) => writeFileSync(cert, "garbage"),
    says: /^sluice: --tls-cert: tls\.cert is "[^"]+", which has no certificate in PEM$/m,
  },
  {
    what: "a key that is none",
    spoil: ({ key }) => writeFileSync(key, "-----BEGIN PRIVATE KEY-----\nAAAA\n"),
    says: /^sluice: --tls-key: tls\.key is "[^"]+", which has no private key in PEM/m,
  },
  {
    what: "the key of another certificate",
    spoil: (files, openssl) =>
      writeCertificate(openssl, { ...files, cert: join(files.folder, "other.pem") }, "other"),
    says: /^sluice: --tls-key: tls\.key is "[^"]+", which is not the key of "[^"]+"$/m,
  },
  {
    what: "a folder",
    spoil: (files) => Object.assign(files, { cert: files.folder }),
    says: /^sluice: --tls-cert: tls\.cert is "[^"]+", which cannot be read: it is a folder$/m,
  },
  {
    what: "a file that is not there",
    spoil: (files) => Object.assign(files, { key: `${files.key}.not` }),
    says: /^sluice: --tls-key: tls\.key is "[^"]+", which cannot be read: there is no such file$/m,
  },
  {
    what: "a file without end",
    spoil: (files) => Object.assign(files, { cert: "/dev/zero" }),
    says: /^sluice: --tls-cert: tls\.cert is "\/dev\/zero", which has more than 1 MiB$/m,
  },
];

describeWith({ openssl: needs("openssl") }, "sluice serve with a certificate", ({ openssl }) => {
  test.each(BAD)("P15 $what is refused in one line, with exit code 78", async (bad) => {
    const files = { ...makeCertificate(openssl) };
    bad.spoil(files, openssl);
    const flags = ["--tls-cert", files.cert, "--tls-key", files.key];
    const { code, stdout, stderr } = await sluice(["serve", ...FREE_PORTS, ...flags]);
    expect([code, stdout]).toEqual([78, ""]);
    expect(stderr).toMatch(bad.says);
    expect(stderr.trimEnd().split("\n")).toHaveLength(2);
    expect(stderr).not.toContain("    at ");
  });

  test.skipIf(process.getuid?.() !== 0)("P15 a file that this user may not read", async () => {
    const files = makeCertificate(openssl);
    chmodSync(files.folder, 0o755);
    chmodSync(files.cert, 0o644);
    chmodSync(files.key, 0o600);
    const flags = ["--tls-cert", files.cert, "--tls-key", files.key];
    const { code, stderr } = await sluice(["serve", ...FREE_PORTS, ...flags], { uid: 65_534 });
    expect(code).toBe(78);
    expect(stderr).toMatch(
      /^sluice: --tls-key: .*which cannot be read: this user may not read it$/m,
    );
  });

  test("serves HTTPS, and P14 SIGHUP reads the files again, unless they are wrong", async () => {
    const files = makeCertificate(openssl, "first");
    const flags = ["--tls-cert", files.cert, "--tls-key", files.key];
    const { url, child, stdout, exited } = await serve(flags);
    expect(url).toMatch(/^https:\/\/127\.0\.0\.1:[0-9]+$/);
    const nameOf = (): Promise<unknown> =>
      new Promise((resolve, reject) => {
        const socket = connect({ port: Number(new URL(url).port), rejectUnauthorized: false });
        socket.once("error", reject);
        socket.once("secureConnect", () => {
          resolve(socket.getPeerCertificate().subject.CN);
          socket.destroy();
        });
      });
    expect(await nameOf()).toBe("first");
    writeCertificate(openssl, files, "second");
    child.kill("SIGHUP");
    await stdout.until("certificate reloaded");
    expect(await nameOf()).toBe("second");
    writeFileSync(files.key, "garbage");
    child.kill("SIGHUP");
    const refusal = JSON.parse(await stdout.until("certificate not reloaded")) as object;
    expect(refusal).toMatchObject({ level: "error", reason: expect.stringContaining("tls.key") });
    expect(await nameOf()).toBe("second");
    child.kill("SIGTERM");
    expect(await exited).toBe(0);
  });

  test("pub and sub speak to it where its certificate is trusted", async () => {
    const files = makeCertificate(openssl);
    const { url } = await serve(["--tls-cert", files.cert, "--tls-key", files.key]);
    const env = { NODE_EXTRA_CA_CERTS: files.cert };
    const at = ["--url", url];
    expect((await sluice(["pub", "a", "hello", ...at], { env })).code).toBe(0);
    const sub = ["sub", "a", "--from", "earliest", "--count", "1", ...at];
    const { code, stdout } = await sluice(sub, { env });
    expect([code, (JSON.parse(stdout) as { data: string }).data]).toEqual([0, "hello"]);
    const untrusted = await sluice(["pub", "a", "hello", ...at]);
    expect(untrusted.code).toBe(1);
    expect(untrusted.stderr).toMatch(/certificate/);
  });
});
