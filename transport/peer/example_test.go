package peer_test

import (
	"fmt"
	"net"

	"sluice/transport/peer"
)

// Two nodes in one process. Their addresses are bound first, because each must know the other's.
func Example() {
	sockets := map[uint8]net.Listener{}
	for n := uint8(1); n <= 2; n++ {
		socket, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			fmt.Println(err)
			return
		}
		sockets[n] = socket
	}
	arrived, up := make(chan string), make(chan bool, 100)
	for n := uint8(1); n <= 2; n++ {
		links, err := peer.New(peer.Config{
			Cluster: [16]byte{1}, Node: n, Incarnation: 1, Version: "example",
			Socket: sockets[n],
			Peers:  map[uint8]peer.Peer{3 - n: {Address: sockets[3-n].Addr().String()}},
			Receive: func(from peer.Sender, lane peer.Lane, frame []byte) {
				arrived <- fmt.Sprintf("node %d received %q from node %d on lane %v", n, frame, from.Node, lane)
			},
			OnState: func(to uint8, lane peer.Lane, connected bool) {
				if n == 1 && lane == peer.Control && connected {
					up <- true
				}
			},
		})
		if err != nil {
			fmt.Println(err)
			return
		}
		defer links.Close()
		links.Start()
		if n == 1 {
			defer func() { fmt.Println("links:", len(links.Status())) }()
			go func() {
				<-up
				links.Send(2, peer.Control, []byte("heartbeat"))
			}()
		}
	}
	fmt.Println(<-arrived)
	// Output:
	// node 2 received "heartbeat" from node 1 on lane control
	// links: 3
}
