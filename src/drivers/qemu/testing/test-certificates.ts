/** Certificates for tests, made by openssl: an authority, and one for each end that it signed. */
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

export const hasOpenssl = spawnSync('openssl', ['version']).status === 0

/** Makes `ca-cert.pem`, and `server-` and `client-` `cert.pem` and `key.pem`, in a folder that it makes as well. */
export async function makeCertificates(folder: string): Promise<void> {
  await mkdir(folder, { recursive: true })
  const run = (...args: string[]) => execFileSync('openssl', args, { cwd: folder, stdio: 'pipe' })
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes']
  const authority = ['-days', '2', '-subj', '/CN=authority', '-keyout', 'ca-key.pem', '-out', 'ca-cert.pem']
  run('req', '-x509', ...key, ...authority)
  for (const end of ['server', 'client']) {
    const request = ['-subj', `/CN=${end}`, '-keyout', `${end}-key.pem`, '-out', `${end}.csr`]
    run('req', ...key, ...request)
    await writeFile(join(folder, `${end}.ext`), 'subjectAltName=DNS:localhost,IP:127.0.0.1\n')
    const signed = ['-CA', 'ca-cert.pem', '-CAkey', 'ca-key.pem', '-CAcreateserial', '-days', '2']
    const files = ['-in', `${end}.csr`, '-extfile', `${end}.ext`, '-out', `${end}-cert.pem`]
    run('x509', '-req', ...signed, ...files)
  }
}
