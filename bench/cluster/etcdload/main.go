// Load of one kind on etcd from many clients: puts, or linearizable gets, of random keys among -keys. Debian's packages
// golang-go and golang-etcd-server-dev, built with GO111MODULE=off GOPATH=/usr/share/gocode.
package main

import (
	"context"
	"flag"
	"fmt"
	"math/rand"
	"os"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/clientv3"
)

func main() {
	endpoints := flag.String("endpoints", "127.0.0.1:2379", "addresses, with commas between")
	clients := flag.Int("clients", 1, "operations under way at a time")
	conns := flag.Int("conns", 1, "connections that they share")
	op := flag.String("op", "put", "put, or get (linearizable)")
	seconds := flag.Int("secs", 10, "seconds that are measured, after one of warm-up")
	size := flag.Int("val", 256, "bytes of a value")
	keys := flag.Int("keys", 100000, "keys that there are")
	flag.Parse()

	shared := make([]*clientv3.Client, *conns)
	for i := range shared {
		client, err := clientv3.New(clientv3.Config{Endpoints: strings.Split(*endpoints, ","), DialTimeout: 5 * time.Second})
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		shared[i] = client
	}
	value := strings.Repeat("v", *size)
	latencies := make([][]int64, *clients)
	var errors int64
	var all sync.WaitGroup
	measured := time.Now().Add(time.Second)
	end := measured.Add(time.Duration(*seconds) * time.Second)
	for i := range latencies {
		all.Add(1)
		go func(i int) {
			defer all.Done()
			random := rand.New(rand.NewSource(int64(i)))
			client := shared[i%len(shared)]
			for {
				key := fmt.Sprintf("key-%08d", random.Intn(*keys))
				start := time.Now()
				if start.After(end) {
					return
				}
				var err error
				if *op == "put" {
					_, err = client.Put(context.Background(), key, value)
				} else {
					_, err = client.Get(context.Background(), key)
				}
				if err != nil {
					atomic.AddInt64(&errors, 1)
				} else if start.After(measured) {
					latencies[i] = append(latencies[i], time.Since(start).Microseconds())
				}
			}
		}(i)
	}
	all.Wait()

	var sorted []int64
	for _, of := range latencies {
		sorted = append(sorted, of...)
	}
	if len(sorted) == 0 {
		fmt.Fprintln(os.Stderr, "no operation was done")
		os.Exit(1)
	}
	sort.Slice(sorted, func(a, b int) bool { return sorted[a] < sorted[b] })
	at := func(quantile float64) int64 { return sorted[int(quantile*float64(len(sorted)-1))] }
	fmt.Printf("etcd %s clients=%d: %.0f op/s, p50 %d us, p99 %d us, errors %d\n",
		*op, *clients, float64(len(sorted))/float64(*seconds), at(.5), at(.99), errors)
}
