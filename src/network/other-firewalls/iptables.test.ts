import assert from 'node:assert/strict'
import { test } from 'node:test'
import { planIptables } from './iptables.ts'

const lab = { bridge: 'visor0', isThrough: true, isServed: true }
const inner = { bridge: 'visor1', isThrough: false, isServed: false }
const plan = (listed: readonly string[], exceptions = [lab]) =>
  planIptables(listed.join('\n'), { name: 'visor', family: 'ipv4', exceptions, docker: ['docker0'] })

const docker = [
  '-P INPUT ACCEPT',
  '-P FORWARD DROP',
  '-N DOCKER',
  '-N DOCKER-USER',
  '-A FORWARD -j DOCKER-USER',
  '-A FORWARD -o docker0 -j DOCKER',
]
const forward = [
  '-A visor-forward -i visor0 -o docker0 -j RETURN',
  '-A visor-forward -i visor0 -j ACCEPT',
  '-A visor-forward -o visor0 -j ACCEPT',
]

test('beside Docker, what is left over passes; its containers are its own', () => {
  assert.deepEqual(plan(docker), [':visor-forward - [0:0]', ...forward, '-I FORWARD 3 -j visor-forward'])
  const [policy = '', ...rest] = docker
  const whole = [
    policy,
    ...rest.slice(0, 3),
    '-N visor-forward',
    ...rest.slice(3),
    '-A FORWARD -j visor-forward',
    ...forward,
  ]
  assert.deepEqual(plan(whole), [])
  assert.deepEqual(plan(whole, []), ['-D FORWARD -j visor-forward', '-F visor-forward', '-X visor-forward'])
  assert.deepEqual(plan(whole, [inner]), [
    ':visor-forward - [0:0]',
    '-A visor-forward -i visor1 -o visor1 -j ACCEPT',
  ])
})

const ufw = [
  '-P INPUT DROP',
  '-P FORWARD DROP',
  '-A INPUT -j ufw-before-input',
  '-A INPUT -j ufw-after-logging-input',
  '-A INPUT -j ufw-reject-input',
  '-A FORWARD -j ufw-before-forward',
  '-A FORWARD -j ufw-after-logging-forward',
  '-A FORWARD -j ufw-reject-forward',
]

test('beside ufw, what it says itself goes first, and this host answers for DHCP and names', () => {
  const lines = plan(ufw)
  assert.ok(lines.includes('-I FORWARD 2 -j visor-forward'))
  assert.ok(lines.includes('-I INPUT 2 -j visor-input'))
  assert.ok(lines.includes('-A visor-input -i visor0 -p udp -m udp --dport 67 -j ACCEPT'))
  // Turned off and on, it stands behind ours: that goes to its place again.
  const moved = [
    ...ufw.slice(0, 5),
    '-N visor-forward',
    '-A FORWARD -j visor-forward',
    ...ufw.slice(5),
    ...forward,
  ]
  const again = plan(moved)
  assert.deepEqual(
    again.filter((line) => line.includes('FORWARD')),
    ['-D FORWARD -j visor-forward', '-I FORWARD 2 -j visor-forward'],
  )
  assert.ok(!again.some((line) => line.startsWith('-A visor-forward')))
})

test('what somebody decided by hand is left alone', () => {
  const own = ['-P INPUT DROP', '-P FORWARD DROP', '-A FORWARD -s 10.0.0.0/8 -j DROP']
  assert.deepEqual(plan(own), [])
  assert.deepEqual(plan(docker.map((line) => line.replace('FORWARD DROP', 'FORWARD ACCEPT'))), [])
})
