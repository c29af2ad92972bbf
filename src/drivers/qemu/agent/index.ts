export { agentSocket, isAgentConnected, noAgent, talkToAgent } from './channel.ts'
export { thawGuest } from './freeze.ts'
export { guestAgent } from './operations.ts'
export { agentChannel } from './session.ts'
