/**
 * For tests, in a mount namespace of its own: an upload to a pool on a file system that becomes full in the middle.
 * Prints what came of it as JSON.
 */
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { run, runChecked } from '../../host/index.ts'
import { toVisorError } from '../../model/index.ts'
import { openForTest } from './open-for-test.ts'

export const fullPool = import.meta.filename

async function fill(): Promise<void> {
  const storage = await openForTest()
  const { volumes, uploads } = storage.connection
  const folder = join(storage.folder, 'state/volumes')
  await volumes.list('default')
  await runChecked('mount', ['-t', 'tmpfs', '-o', 'size=4m', 'tmpfs', folder])
  const codeOf = (work: Promise<unknown>) =>
    work.then(
      () => 'done',
      (error: unknown) => toVisorError(error).code,
    )
  const tooLarge = await codeOf(uploads.create('default', { volume: 'a.raw', sizeBytes: 2 ** 23 }))
  // Its size is only known at its end.
  const { id } = await uploads.create('default', { volume: 'a.raw' })
  async function* bytes() {
    for (let count = 0; count < 128; count++) yield Buffer.alloc(65_536, 1)
  }
  const full = await codeOf(uploads.append('default', id, bytes(), { offset: 0 }))
  const left = await readdir(folder)
  process.stdout.write(`${JSON.stringify({ tooLarge, full, left })}\n`)
  await run('umount', [folder])
  await storage.close()
}

if (import.meta.main) await fill()
