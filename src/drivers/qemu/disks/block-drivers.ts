/** Which storage a QEMU can open: parts of it are programs of their own that may not be installed. */
import type { QmpClient } from '../qmp/index.ts'

/**
 * For each driver, options that it refuses before it looks at any file or network; one that is not there is
 * refused as unknown.
 */
const probes: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
  iscsi: { transport: 'tcp', portal: 'x', target: 'x', user: 'x', 'password-secret': 'none' },
  rbd: { pool: 'x', image: 'x', 'key-secret': 'none' },
  http: { url: 'none' },
  https: { url: 'none' },
  ftp: { url: 'none' },
  ftps: { url: 'none' },
  nfs: { server: { type: 'inet', host: 'x' }, path: 'none' },
  ssh: { path: 'x', server: { host: 'x', port: 'none' } },
  gluster: { volume: 'x', path: 'x', server: [] },
  nbd: { server: { type: 'inet', host: 'x', port: '1' }, 'tls-creds': 'none' },
  vvfat: { dir: '/', 'fat-type': 99 },
  ...Object.fromEntries(
    ['qcow2', 'qcow', 'qed', 'vmdk', 'vdi', 'vpc', 'vhdx', 'parallels', 'bochs', 'cloop', 'dmg', 'luks'].map(
      (format) => [format, { file: 'no-such-node' }],
    ),
  ),
}

/** Asks a QEMU that has no machine. */
export async function findMissingBlockDrivers(monitor: QmpClient): Promise<string[]> {
  const missing: string[] = []
  for (const [driver, options] of Object.entries(probes)) {
    const node = { driver, 'node-name': 'probe', 'read-only': true, ...options }
    const message = await monitor
      .execute('blockdev-add', node, { timeoutMs: 20_000 })
      .then(() => monitor.execute('blockdev-del', { 'node-name': 'probe' }))
      .then(
        () => '',
        (error: unknown) => String(error),
      )
    if (/unknown driver|does not accept value|not whitelisted/iu.test(message)) missing.push(driver)
  }
  return missing
}
