import { mkdir } from 'node:fs/promises'
import { type CompleteConnection, connect } from '../../src/index.ts'
import type { Workbench } from '../harness.ts'
import { directoriesOf } from './visord.ts'

/** The QEMU driver in this very process, as a program that uses the library has it. */
export async function openLibrary(bench: Workbench): Promise<CompleteConnection> {
  const directories = directoriesOf(bench, 'library')
  await mkdir(directories.state, { recursive: true, mode: 0o700 })
  await mkdir(directories.runtime, { recursive: true, mode: 0o755 })
  const connection = await connect('qemu:///system', { directories })
  bench.defer(() => connection.close())
  return connection
}
