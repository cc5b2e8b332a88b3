// asynq: `asynq_peer fill JOBS`, `asynq_peer work CONCURRENCY`.
package main

import (
	"context"
	"log"
	"os"
	"strconv"

	"github.com/hibiken/asynq"
)

func job(_ context.Context, task *asynq.Task) error {
	if mark := string(task.Payload()); mark != "" {
		return os.WriteFile(mark, nil, 0o600)
	}
	return nil
}

func fill(redis asynq.RedisConnOpt, jobs int) error {
	client := asynq.NewClient(redis)
	defer client.Close()
	marks := map[int]string{jobs / 10: "begin", jobs - 1: "end"}
	for number := range jobs {
		if _, err := client.Enqueue(asynq.NewTask("job", []byte(marks[number]))); err != nil {
			return err
		}
	}
	return nil
}

func main() {
	redis, err := asynq.ParseRedisURI(os.Getenv("PEER_REDIS"))
	if err != nil {
		log.Fatal(err)
	}
	number, err := strconv.Atoi(os.Args[2])
	if err != nil {
		log.Fatal(err)
	}
	if os.Args[1] == "fill" {
		err = fill(redis, number)
	} else {
		err = asynq.NewServer(redis, asynq.Config{Concurrency: number}).Run(asynq.HandlerFunc(job))
	}
	if err != nil {
		log.Fatal(err)
	}
}
