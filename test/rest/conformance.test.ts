/** The client over TCP keeps the contract as the driver behind the server does. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { conform } from '../conformance/conform.ts'
import { type Served, serveApi } from './served.ts'

const directory = await mkdtemp(join(tmpdir(), 'visor-conform-'))
let served: Served | undefined

conform({
  name: 'rest over TCP',
  persists: true,
  powersOff: true,
  greeting: 'visor test guest',
  echo: { type: 'echo round trip\r', back: '\r\nround trip\r\n' },
  stateFile: (name) => join(directory, `${name}.state`),
  makeDefinition: (name) => ({
    type: 'test',
    name,
    memoryKiB: 65_536,
    devices: { disks: [{ file: '/guest/disk.raw', target: 'vda' }], serials: [{}] },
  }),
  async open() {
    served ??= await serveApi('tcp', 'test:///empty')
    return { ...(await served.connect()), jobBook: served.connection.jobBook }
  },
  async dispose() {
    await served?.close()
    await rm(directory, { recursive: true, force: true })
  },
})
