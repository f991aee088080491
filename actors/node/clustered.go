package node

import "context"

// Clustered is a Running of a member of a cluster, see package cluster.
type Clustered interface {
	Running
	// Cluster is what this member knows of the cluster. It never waits.
	Cluster() Cluster
	// Transfer begins to hand the leadership to another node, 0 for the fittest. The error says why this
	// node cannot, and which node leads.
	Transfer(to uint8) error
	// Change changes the membership, and returns when the log has the change. The error says why it is not
	// possible, or that it is not known to be in the log.
	Change(ctx context.Context, c MemberChange) (MemberChanged, error)
	// TraceVoters turns it on or off that this member remembers, while it leads, when which node had which
	// event on disk. Voters returns that for an event of the last second or so, for traces.
	TraceVoters(on bool)
	Voters(event uint64) []Voter
}

// Voter is when a node had an event on its disk, as the leader heard it.
type Voter struct {
	Node uint8
	At   int64 // ns, of the leader's clock
}

// Values of MemberChange.Verb.
const (
	MemberAdd     = "add"     // a node becomes a learner
	MemberPromote = "promote" // a learner becomes a voter
	MemberRemove  = "remove"
	MemberReplace = "replace" // the number of a node whose data is lost is given to a new data directory
)

// MemberChange is a change of the membership of a cluster.
type MemberChange struct {
	Verb      string  `json:"verb"`
	Node      uint8   `json:"node"`
	Peer      string  `json:"peer,omitempty"`       // add, replace: host:port where the other nodes reach it
	Client    string  `json:"client,omitempty"`     // add, replace: host:port that clients are given
	Learner   bool    `json:"learner,omitempty"`    // add: it is not promoted by itself
	With      []uint8 `json:"with,omitempty"`       // promote: these too
	InsteadOf uint8   `json:"instead_of,omitempty"` // promote: this voter leaves at the same time
	Force     bool    `json:"force,omitempty"`      // also if two voters are left, or a node that is replaced is up
}

// MemberChanged is the result of a change.
type MemberChanged struct {
	Done   string `json:"done"`             // in words
	Ticket string `json:"ticket,omitempty"` // add, replace: for sluice cluster init --join on the node
	Client string `json:"client,omitempty"` // add, replace: its address for clients
}

// Cluster is what a member of a cluster knows of it at one moment. Numbers are of events.
type Cluster struct {
	ID        string          `json:"cluster"`           // identity
	Node      uint8           `json:"node"`              // number of this member
	State     string          `json:"state"`             // of this member, as in its ClusterMember
	Unready   string          `json:"unready,omitempty"` // why clients should not be sent here; empty if they may
	Term      uint64          `json:"term"`
	Leader    uint8           `json:"leader"` // its number; 0 while none is known
	Since     float64         `json:"since"`  // seconds for which Leader has been what it is
	Quorum    int             `json:"quorum"` // members that are a majority
	Policy    string          `json:"policy"` // in force at this member
	Class     string          `json:"class"`  // of the policy, see durability.Class
	Committed uint64          `json:"committed"`
	Applied   uint64          `json:"applied"` // by this member, and committed
	Lag       uint64          `json:"lag"`     // events that are committed and not applied here, about
	Members   []ClusterMember `json:"members"` // by number, with this one

	LeaderChanges uint64  `json:"leader_changes"` // seen by this member since its start
	Leaderless    float64 `json:"leaderless"`     // seconds without a known leader since its start
	Rebuilds      uint64  `json:"rebuilds"`       // of the state, after the end of a leadership
	// events of this member's log since its start that another leader's replaced
	Replaced uint64 `json:"replaced"`
}

// Values of ClusterMember.State.
const (
	MemberLeads       = "leader"
	MemberTakesOver   = "taking over" // elected, and not serving yet
	MemberFollows     = "follower"
	MemberElects      = "no leader" // this member knows of none
	MemberProbed      = "probing"   // the leader looks for where its log ends
	MemberReceives    = "snapshot"  // it receives a snapshot of the leader
	MemberSilent      = "silent"    // the leader has not heard of it for two election times
	MemberUnreachable = "unreachable"
)

// Values of Cluster.Unready, besides MemberTakesOver and MemberElects.
const (
	UnreadyBehind = "behind the log"
	UnreadyEnding = "ending"
	UnreadyEnded  = "ended"
)

// ClusterMember is what a member knows of one member. What it does not know is nil: a member that does not
// lead knows little of the others.
type ClusterMember struct {
	Node uint8 `json:"node"`
	// Generation counts the directories that the number had before.
	Generation uint8    `json:"generation,omitempty"`
	Role       string   `json:"role"` // voter or learner; leaving: a voter until a change is complete
	State      string   `json:"state"`
	Match      *uint64  `json:"match"`     // last event on its disk
	Lag        *uint64  `json:"lag"`       // events by which its disk is behind that of the leader
	InMemory   *uint64  `json:"in_memory"` // last event in its memory
	Heard      *float64 `json:"heard"`     // seconds since its last message
	Disk       *float64 `json:"disk"`      // seconds of the slowest write of the last second or two
	Link       string   `json:"link"`      // to it and from it: up, or what is down; empty for this member
	Version    string   `json:"version"`   // of its program; empty if it was never connected
	Client     string   `json:"client"`    // its address for clients
}
