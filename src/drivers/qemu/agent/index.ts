export { agentSocket, isAgentConnected, noAgent, takeTurn, talkToAgent } from './channel.ts'
export { thawGuest } from './freeze.ts'
export { guestAgent } from './operations.ts'
export { type AgentSession, agentChannel, openSession } from './session.ts'
