package board;

import com.google.protobuf.Descriptors.FileDescriptor;
import io.cloudstate.javasupport.CloudState;

public final class Main {

  private Main() {}

  public static void main(String[] args) throws Exception {
    FileDescriptor api = BoardApi.getDescriptor();
    new CloudState()
        .registerCrdtEntity(Likes.class, api.findServiceByName("Likes"), api)
        .registerCrdtEntity(Tags.class, api.findServiceByName("Tags"), api)
        .registerCrdtEntity(Headline.class, api.findServiceByName("Headline"), api)
        .registerCrdtEntity(Reactions.class, api.findServiceByName("Reactions"), api)
        .registerCrdtEntity(Approval.class, api.findServiceByName("Approval"), api)
        .registerCrdtEntity(Readers.class, api.findServiceByName("Readers"), api)
        .start()
        .toCompletableFuture()
        .get();
  }
}
