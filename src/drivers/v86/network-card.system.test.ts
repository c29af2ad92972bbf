/** The network card of a machine with real passt, asked as a guest asks. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  isOnTestHost,
  missingForTestHost,
  onTestHost,
  setUpTestHost,
} from '../../../test/fixtures/test-host.ts'
import { completeDefinition } from './definition.ts'
import { connectCard, openHostCard, withCards } from './network-card.ts'

const mac = [0x52, 0x54, 0, 1, 2, 3]
const guest = [203, 0, 113, 1]
const router = [203, 0, 113, 2]
/** RFC 826: who has the router's address? */
const question = [
  ...[255, 255, 255, 255, 255, 255, ...mac, 0x08, 0x06],
  ...[0, 1, 8, 0, 6, 4, 0, 1, ...mac, ...guest, 0, 0, 0, 0, 0, 0, ...router],
]

async function runOnTestHost(): Promise<void> {
  setUpTestHost()
  const definition = withCards({
    ...completeDefinition({
      type: 'v86',
      name: 'v',
      memoryKiB: 16_384,
      devices: {
        interfaces: [
          {
            type: 'user',
            mac: '52:54:00:01:02:03',
            portForwards: [{ proto: 'tcp', ranges: [{ start: 8007, to: 7 }] }],
          },
        ],
      },
    }),
    uuid: 'e0e0e0e0-0000-4000-8000-000000000001',
  })
  const { config } = await openHostCard(definition, undefined)
  assert.ok(config)
  const received: Uint8Array[] = []
  let wake = () => {}
  const packets = await connectCard(config, (packet) => {
    received.push(packet)
    wake()
  })
  packets.send(Uint8Array.from(question))
  const isAnswer = (packet: Uint8Array) => packet[12] === 0x08 && packet[13] === 0x06 && packet[21] === 2
  while (!received.some(isAnswer))
    await new Promise<void>((resolve) => {
      wake = resolve
    })
  assert.deepEqual([...(received.find(isAnswer) ?? [])].slice(28, 32), router)

  // Its ports are taken, which another machine is told.
  const second = await openHostCard(definition, undefined)
  assert.ok(second.config)
  await assert.rejects(
    connectCard(second.config, () => {}),
    {
      code: 'failed',
      message: /did not start: .*8007/su,
    },
  )
}

if (isOnTestHost()) {
  await runOnTestHost()
  // What is connected is let go of by the end of the process.
  process.exit(0)
} else {
  const skip = missingForTestHost(['unshare', 'ip', 'mount', 'passt'])
  test('passt answers a machine, and says what is in its way', { skip }, () =>
    onTestHost(import.meta.filename),
  )
}
