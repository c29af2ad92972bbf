import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseCgroupHierarchies } from './cgroup.ts'

const hybrid = `tmpfs /sys/fs/cgroup tmpfs rw 0 0
cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0
cgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,cpu,cpuacct 0 0
cgroup /sys/fs/cgroup/mem\\040ory cgroup rw,memory 0 0
cgroup /sys/fs/cgroup/pids cgroup rw,pids 0 0`

test('guests get groups below our own, in v2 and in the v1 hierarchies that count', () => {
  const own = '5:cpu,cpuacct:/a\n4:memory:/\n3:pids:/x\n0::/session.scope\n'
  assert.deepEqual(parseCgroupHierarchies(hybrid, own), [
    { controller: '2', parent: '/sys/fs/cgroup/unified/session.scope' },
    { controller: 'cpuacct,cpu', parent: '/sys/fs/cgroup/cpu,cpuacct/a' },
    { controller: 'memory', parent: '/sys/fs/cgroup/mem ory/' },
    { controller: 'pids', parent: '/sys/fs/cgroup/pids/x' },
  ])
})

test('with v2 alone there is one group, and none where nothing is mounted', () => {
  const v2 = 'cgroup2 /sys/fs/cgroup cgroup2 rw,nsdelegate 0 0'
  assert.deepEqual(parseCgroupHierarchies(v2, '0::/user.slice\n'), [
    { controller: '2', parent: '/sys/fs/cgroup/user.slice' },
  ])
  assert.deepEqual(parseCgroupHierarchies('', ''), [])
})
