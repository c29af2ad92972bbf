/** What screens need of the host: certificates, and a graphics card where they draw with one. */
import { access, constants, readdir } from 'node:fs/promises'
import type { FileAccess } from '../../../../host/index.ts'
import type { Devices, Graphics } from '../../../../model/index.ts'
import { unsupported } from '../../definition/unsupported.ts'
import { defaultTlsDirectory } from '../../disks/disk-secrets.ts'
import { certificates } from '../ports/ports.ts'

/** The folder with the certificates of a screen; undefined for one without TLS. */
export function screenCertificates({ type, tlsDirectory, tlsPort = -1 }: Graphics): string | undefined {
  if (type === 'spice') return tlsPort > 0 ? (tlsDirectory ?? defaultTlsDirectory) : undefined
  return type === 'vnc' ? tlsDirectory : undefined
}

/** The files of the host that a screen opens. */
export function filesOfScreen(screen: Graphics): FileAccess[] {
  const folder = screenCertificates(screen)
  const { renderNode } = screen
  return [
    ...(folder === undefined ? [] : certificates(folder, 'server')).map((path) => ({
      path,
      what: 'certificate',
    })),
    ...(renderNode === undefined ? [] : [{ path: renderNode, write: true, what: 'graphics card' }]),
  ]
}

/** Fails with `unsupported-config` where the host has not what a screen needs, naming it. */
export async function checkScreens({ graphics }: Devices): Promise<void> {
  for (const [index, screen] of graphics.entries()) {
    const path = `devices.graphics[${index}]`
    for (const file of filesOfScreen(screen))
      await access(file.path, constants.R_OK).catch(() => {
        throw unsupported(
          path,
          `the ${file.what} '${file.path}' is not there, or cannot be read`,
          file.what === 'certificate'
            ? 'Put ca-cert.pem, server-cert.pem and server-key.pem in that folder.'
            : 'Name another one.',
        )
      })
    const draws = screen.type === 'egl-headless' || screen.gl === true
    const cards = draws ? await readdir('/dev/dri').catch(() => []) : []
    if (draws && !cards.some((name) => name.startsWith('renderD')))
      throw unsupported(path, 'this host has no graphics card to draw with: nothing is in /dev/dri')
  }
}
