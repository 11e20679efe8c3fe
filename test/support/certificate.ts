import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { onTestFinished } from "vitest";

/** Paths of a certificate and its key. */
export interface CertificateFiles {
  readonly folder: string;
  readonly cert: string;
  readonly key: string;
}

/** A self-signed certificate for localhost, made anew; the end of the test removes it. */
export function makeCertificate(openssl: string, name = "localhost"): CertificateFiles {
  const folder = mkdtempSync(join(tmpdir(), "sluice-tls-"));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const files = { folder, cert: join(folder, "cert.pem"), key: join(folder, "key.pem") };
  writeCertificate(openssl, files, name);
  return files;
}

/** Makes another one in the same place. */
export function writeCertificate(openssl: string, files: CertificateFiles, name: string): void {
  const { cert, key } = files;
  const kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
  const subject = ["-subj", `/CN=${name}`, "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"];
  execFileSync(
    openssl,
    ["req", "-x509", ...kind, "-days", "2", "-keyout", key, "-out", cert, ...subject],
    { stdio: "ignore" },
  );
}
