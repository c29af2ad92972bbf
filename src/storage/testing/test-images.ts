/** The micro guest for tests. */
import { randomUUID } from 'node:crypto'
import { constants, existsSync } from 'node:fs'
import { cp, mkdir, rename, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { silentLog } from '../../driver/index.ts'
import { type Image, VisorError } from '../../model/index.ts'
import { openImages } from '../index.ts'

/**
 * Builds it as images of the state directory are; or, where `VISOR_TEST_IMAGES` names a folder, as `npm test` does for
 * its run, copies the one that another test has built and left there. Each test so has files of its own.
 */
export async function buildTestImage(stateDirectory: string, arch = 'x86_64'): Promise<Image> {
  const images = openImages({ stateDirectory, log: silentLog })
  const shared = process.env.VISOR_TEST_IMAGES
  const ready = shared && join(shared, arch)
  const own = join(stateDirectory, 'images', `micro-${arch}`)
  if (ready && existsSync(ready)) await copy(ready, own)
  // Compares what is there with its digests.
  const image = await images.build?.('micro', { arch })
  if (!image) throw new VisorError('internal', 'There are no images to build here.')
  if (ready && !existsSync(ready)) await publish(dirname(image.kernel ?? own), ready)
  return image
}

async function copy(from: string, to: string): Promise<void> {
  if (existsSync(to)) return
  await mkdir(dirname(to), { recursive: true, mode: 0o700 })
  await cp(from, to, { recursive: true, dereference: true, mode: constants.COPYFILE_FICLONE })
}

/** Whole or not at all; another test may be the first. */
async function publish(from: string, to: string): Promise<void> {
  const beside = `${to}.${randomUUID()}`
  await copy(from, beside)
  await rename(beside, to).catch(() => rm(beside, { recursive: true, force: true }))
}
