export { agentSocket, isAgentConnected, noAgent, talkToAgent } from './channel.ts'
export { freezeGuest, thawGuest } from './freeze.ts'
export { guestAgent } from './operations.ts'
