import assert from 'node:assert/strict'
import { mkdtemp, rm, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { run } from '../process.ts'
import { findProgram } from '../programs.ts'
import { createOverlay, formatOverlay } from './qcow2-overlay.ts'

const noQemuImg = (await findProgram('qemu-img')) ? false : 'qemu-img is not installed'

test('the table of clusters grows with the disk', () => {
  const base = { file: '/b', format: 'raw', sizeBytes: 512 } as const
  assert.equal(formatOverlay(base).lengthBytes, 4 * 65_536)
  assert.equal(formatOverlay({ ...base, sizeBytes: 8 * 2 ** 40 }).lengthBytes, 5 * 65_536)
})

test("qemu-img finds an overlay sound, and sees its base's bytes through it", {
  skip: noQemuImg,
}, async () => {
  const directory = await mkdtemp(join(tmpdir(), 'visor-overlay-'))
  try {
    for (const [index, sizeBytes] of [512, 1_048_576 + 512, 600 * 2 ** 30].entries()) {
      const [base, overlay] = [join(directory, `base, ${index}`), join(directory, `over${index}`)]
      await writeFile(base, 'bytes of the base')
      await truncate(base, sizeBytes)
      await createOverlay(overlay, { file: base, format: 'raw', sizeBytes })
      await assert.rejects(createOverlay(overlay, { file: base, format: 'raw', sizeBytes }), {
        code: 'already-exists',
      })
      const check = await run('qemu-img', ['check', '-q', overlay])
      assert.equal(check.code, 0, check.stderr + check.stdout)
      const info = JSON.parse((await run('qemu-img', ['info', '--output=json', overlay])).stdout)
      assert.equal(info['virtual-size'], sizeBytes)
      assert.equal(info['backing-filename'], base)
      assert.equal(info['backing-filename-format'], 'raw')
      const { stdout } = await run('qemu-io', ['-c', 'read -v 0 17', overlay])
      assert.match(stdout, /62 79 74 65 73/u)
    }
  } finally {
    await rm(directory, { recursive: true, force: true })
  }
})
