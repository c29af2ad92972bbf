import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Interface, parse, VisorError } from '../model/index.ts'
import { explainPasst, passtArguments } from './passt.ts'

const argumentsOf = (more: object) =>
  passtArguments(parse(Interface, { type: 'user', backend: 'passt', ...more } as never), [
    '--socket',
    '/s',
  ]).slice(4)

test('addresses, links and logs', () => {
  assert.deepEqual(argumentsOf({}), ['--stderr'])
  assert.deepEqual(
    argumentsOf({
      dev: 'eth0',
      mtu: 1400,
      backendLog: '/var/log/passt.log',
      ips: [{ address: '10.1.2.1', prefix: 24 }, { address: '2001:db8::5' }],
    }),
    [
      ...['--log-file', '/var/log/passt.log', '--interface', 'eth0', '--mtu', '1400'],
      ...['--address', '10.1.2.1', '--netmask', '24', '--gateway', '10.1.2.2', '--address', '2001:db8::5'],
    ],
  )
})

test('ports, ranges of them, all but some, and all', () => {
  const forward = (more: object) => argumentsOf({ portForwards: [{ proto: 'tcp', ...more }] }).slice(1)
  assert.deepEqual(forward({}), ['--tcp-ports', 'all'])
  assert.deepEqual(forward({ proto: 'udp', address: '::1' }), ['--udp-ports', '::1/1-65535'])
  assert.deepEqual(forward({ ranges: [{ start: 22 }] }), ['--tcp-ports', '22'])
  assert.deepEqual(
    forward({
      address: '127.0.0.1',
      dev: 'lo',
      ranges: [
        { start: 2222, to: 22 },
        { start: 80, end: 90, to: 8080 },
        { start: 85, exclude: true },
      ],
    }),
    ['--tcp-ports', '127.0.0.1%lo/2222:22,80-90:8080-8090,~85'],
  )
  assert.deepEqual(forward({ ranges: [{ start: 25, exclude: true }] }), ['--tcp-ports', '~25'])
  assert.deepEqual(forward({ dev: 'lo', ranges: [{ start: 25, end: 30, exclude: true }] }), [
    '--tcp-ports',
    '0.0.0.0%lo/1-65535,~25-30',
  ])
  for (const range of [
    { start: 9, end: 8 },
    { start: 1, end: 10, to: 65_530 },
  ])
    assert.throws(() => forward({ ranges: [range] }), { code: 'unsupported-config' })
})

test('why it did not start is told without noise, with what to do', () => {
  const told = (said: string) => {
    const error = explainPasst(new VisorError('failed', `It did not start: ${said}`)) as VisorError
    return [error.message, error.remedy?.slice(0, 27)]
  }
  const noise = 'Failed to send 46 bytes to syslog\n'
  assert.deepEqual(
    told(`${noise}No external routable interface for IPv6\nFailed to bind any port, exiting`),
    ['It did not start: Failed to bind any port, exiting.', 'Another program has the por'],
  )
  assert.deepEqual(
    told(`${noise}No external routable interface for IPv4\n${noise}External interface not usable`),
    [
      'It did not start: No external routable interface for IPv4; External interface not usable.',
      'The guest gets the addresse',
    ],
  )
})
